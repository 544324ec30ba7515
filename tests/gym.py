"""A second data set, of another shape than the shipped one."""

import random
from pathlib import Path

ROWS = 400


def write_members(path: Path) -> None:
    """A gym's members: no id, target 1/0, booleans, blanks, a date. Made here, at random."""
    dice = random.Random(7)
    lines = ["joined_on;home_club;Visits per Week;has_trainer;locker;plan;towel;monthlyFee;quit"]
    for _ in range(ROWS):
        visits = dice.randint(0, 6)
        club = dice.choice(["North", "South", "Harbour"])
        fee = "" if dice.random() < 0.1 else f"{dice.uniform(19, 89):.2f}".replace(".", ",")
        trainer, locker = dice.choice(["true", "false"]), dice.choice(["0", "1"])
        plan, towel = dice.choice(["Basic", "Gold", ""]), dice.choice(["0", "1", "NA"])
        quit_ = int(dice.random() < 0.75 - 0.1 * visits)
        day = f"2024-{dice.randint(1, 12):02}-{dice.randint(1, 28):02}"
        lines.append(f"{day};{club};{visits};{trainer};{locker};{plan};{towel};{fee};{quit_}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
