"""The form for one customer, laid out from the contract."""

from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any

import fields
import streamlit as st

from churn.contract import Column, Contract

PER_ROW = 3


class Form:
    """A contract's form. Its inputs' keys name the contract, so that another contract starts with
    its own examples and never with what stands in a field of the same name."""

    def __init__(self, contract: Contract) -> None:
        self.contract = contract
        self._prefix = sha256(contract.model_dump_json().encode()).hexdigest()[:8]

    def draw(self, faults: Mapping[str, str], submit: Callable[[], None], *, ready: bool) -> None:
        """Draw it.

        Args:
            faults: what is wrong with a column's value, in words.
            submit: called when the form is sent, before the page is drawn again.
            ready: whether it can be sent; it can be filled in at any time.
        """
        with st.form(self._key("form"), border=False):
            for heading, icon, columns in _groups(self.contract):
                st.subheader(f":material/{icon}: {heading}", anchor=False)
                self._grid(columns, faults)
            with st.container(horizontal=True, vertical_alignment="bottom", key="send"):
                self._identity(faults)
                st.form_submit_button(
                    "Predict",
                    type="primary",
                    icon=":material/insights:",
                    disabled=not ready,
                    on_click=submit,
                    key=self._key("submit"),
                )

    def customer(self) -> dict[str, Any]:
        """What the form holds, in the contract's columns; None where a field was left empty."""
        given = {name: st.session_state.get(self._key(f"column.{name}")) for name in self.contract.features}
        name = self.contract.id
        identity = st.session_state.get(self._key(f"column.{name}")) if name else None
        return {name: identity, **given} if name and identity else given

    def _grid(self, columns: list[Column], faults: Mapping[str, str]) -> None:
        for first in range(0, len(columns), PER_ROW):
            row = columns[first : first + PER_ROW]
            for place, column in zip(st.columns(PER_ROW), row, strict=False):
                with place:
                    fields.draw(column, self._key(f"column.{column.name}"))
                    _tell(faults.get(column.name))

    def _identity(self, faults: Mapping[str, str]) -> None:
        if self.contract.id:
            key = self._key(f"column.{self.contract.id}")
            st.text_input("Customer ID (optional)", key=key, placeholder=self.contract.id, width=260)
            _tell(faults.get(self.contract.id))

    def _key(self, name: str) -> str:
        return f"{self._prefix}.{name}"


def _groups(contract: Contract) -> list[tuple[str, str, list[Column]]]:
    """What the company can act on apart from what it cannot; no group is empty. Switches come
    last: they are lower than other fields and look best in rows of their own."""
    columns = sorted(contract.features.values(), key=lambda column: column.type == "boolean")
    groups = [
        ("About the customer", "person", [column for column in columns if not column.actionable]),
        ("What you can change", "tune", [column for column in columns if column.actionable]),
    ]
    return [group for group in groups if group[2]]


def _tell(fault: str | None) -> None:
    if fault:
        st.markdown(f":small[:red[:material/error: {fields.plain(fault[:1].upper() + fault[1:])}]]")
