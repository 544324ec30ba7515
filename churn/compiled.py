"""A pipeline compiled to ONNX, as serving runs it: no scikit-learn, no pandas."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from churn.errors import NotReady

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from churn.encoding import Encoded

FILE = "scorer.onnx"
NUMBERS = "numbers"
CODES = "codes"
PROBABILITY = "churn_probability"
FEATURES = "features"
ROW_HASH = "row_hash"
TOLERANCE = 1e-6
"""How far the compiled scorer may be from the pipeline, as a probability."""


class Compiled:
    """An ONNX Runtime session over ``scorer.onnx``.

    Args:
        threads: of one call. One row needs one; more would make requests wait for each other.

    Raises:
        Exception: whatever ONNX Runtime raises over a file that is broken or no such model.
    """

    def __init__(self, path: Path, *, threads: int = 1) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # one request's memory is small: an arena would keep what the largest one took
        options.enable_cpu_mem_arena = False
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.row_hash = self._session.get_modelmeta().custom_metadata_map.get(ROW_HASH, "")
        named = {entry.name for entry in self._session.get_inputs()}
        self._wanted = [name for name in (NUMBERS, CODES) if name in named]
        self._tells_features = FEATURES in {entry.name for entry in self._session.get_outputs()}

    def probabilities(self, encoded: "Encoded") -> "NDArray[np.float64]":
        """Churn probabilities, (n,)."""
        return self._run(PROBABILITY, encoded)

    def features(self, encoded: "Encoded") -> "NDArray[np.float64]":
        """The matrix that the model sees, (n, k).

        Raises:
            NotReady: the graph is of a version before explanations.
        """
        if not self._tells_features:
            raise NotReady("this version does not tell what its model sees; train anew")
        return self._run(FEATURES, encoded)

    def _run(self, output: str, encoded: "Encoded") -> "NDArray[np.float64]":
        given = {NUMBERS: encoded.numbers, CODES: encoded.codes}
        found: NDArray[np.float64] = self._session.run([output], {name: given[name] for name in self._wanted})[0]
        return found
