"""Products of rows and a layer's matrix by NumPy: of one row, of few, of many.

The decoder multiplies a row for each item at every step. BLAS reads the matrix once for a single row; for several it
copies it into blocks first, which takes longer than the product. Where it has kernels for small matrices, which copy
nothing, the matrix is given to it in pieces that are small enough.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mlx_canary import blas
from mlx_canary.threads import in_shares

Floats = npt.NDArray[np.float32]
# Up to so many rows pieces are faster: 17 instead of 29 ms for two rows and 72 million weights, 23 instead of 35 for
# eight, 31 instead of 43 for twelve, but 46 instead of 39 for sixteen (two cores of a Xeon, NumPy 2.4.6).
_ROWS_FOR_PIECES = 12
# Up to so many BLAS is faster with the matrix on the left: 40 tokens of 20 items in 2.6 instead of 3.3 s.
_FEW_ROWS = 32
_PIECE = 16  # outputs; 8 to 128 are as fast
_SMALL = 100**3  # multiplications: OpenBLAS's own bound
_SHARE = 1 << 18  # numbers to be read that are worth waking a thread


def of_rows(rows: Floats, matrix: Floats) -> Floats:
    """(N, D), (E, D) -> (N, E)."""
    N, (E, D) = len(rows), matrix.shape
    if N == 1:
        return times(matrix, rows[0])[None]
    if N <= _ROWS_FOR_PIECES and N * _PIECE * D <= _SMALL and E >= _PIECE and blas.multiplies_small_in_place():
        return _in_pieces(rows, matrix)
    return times(matrix, rows.T).T if N <= _FEW_ROWS else times(rows, matrix.T)


def times(a: Floats, b: Floats) -> Floats:
    """(..., U, K), (..., K, L) -> (..., U, L)."""
    product: Floats = np.matmul(a, b)
    return product


def worthwhile_shares(n_numbers: int) -> int:
    """How many threads should read so many numbers."""
    return 1 if n_numbers < 2 * _SHARE else min(n_numbers // _SHARE, blas.n_threads())


def _in_pieces(rows: Floats, matrix: Floats) -> Floats:
    (N, D), n_pieces = rows.shape, len(matrix) // _PIECE
    whole = n_pieces * _PIECE
    out = np.empty((N, len(matrix)), np.float32)
    pieces = matrix[:whole].reshape(n_pieces, _PIECE, D).swapaxes(1, 2)
    places = out[:, :whole].reshape(N, n_pieces, _PIECE).swapaxes(0, 1)  # a view
    in_shares(lambda part: np.matmul(rows, pieces[part], out=places[part]), n_pieces, worthwhile_shares(matrix.size))
    if whole < len(matrix):
        np.matmul(rows, matrix[whole:].T, out=out[:, whole:])
    return out
