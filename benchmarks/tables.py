"""Per-LS tables: 20,000 rows of 102 bins as csv and as parquet, beside ``json.loads`` row by row.

Run with ``python benchmarks/tables.py``; everything is measured in one run, the best of three each.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dqmroot.io.tables.reader import read_table

ROWS, BINS = 20_000, 102


def best(call: Callable[[], Any], repeats: int = 3) -> tuple[float, Any]:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = call()
        times.append(time.perf_counter() - start)
    return min(times), result


def row_by_row(path: Path) -> np.ndarray:
    """What analysts do today: pandas reads the text, then each row is parsed as JSON."""
    df = pd.read_csv(path)
    out = np.zeros((len(df), BINS))
    for i in range(len(df)):
        out[i] = np.array(json.loads(df.at[i, "histo"]))
    return out


def lists_only(path: Path) -> np.ndarray:
    """The same for parquet: one array per row, stacked."""
    return np.vstack(pd.read_parquet(path)["histo"].to_numpy())


def main() -> None:
    rng = np.random.default_rng(1)
    counts = rng.poisson(300 * np.exp(-0.5 * np.linspace(-3, 3, BINS) ** 2), (ROWS, BINS))
    df = pd.DataFrame(
        {"fromrun": 297050, "fromlumi": np.arange(ROWS), "hname": "charge", "metype": 3, "histo": list(counts.tolist())}
        | {"entries": counts.sum(1), "Xmax": 1.0, "Xmin": 0.0, "Xbins": BINS - 2, "Ymax": 1.0, "Ymin": 0.0, "Ybins": 1}
    )
    with tempfile.TemporaryDirectory() as folder:
        csv, corrupt, parquet = (Path(folder) / name for name in ("a.csv", "b.csv", "a.parquet"))
        df.to_csv(csv)
        df.to_parquet(parquet)
        df.assign(histo=[list(row) for row in counts]).to_csv(corrupt)
        read_table(csv)  # compiles
        results = {
            "csv, pandas and json.loads": best(lambda: row_by_row(csv), 1),
            "csv, dqmroot": best(lambda: read_table(csv)["charge"].contents),
            "csv with np.int64(…), dqmroot": best(lambda: read_table(corrupt)["charge"].contents),
            "parquet, pandas and vstack": best(lambda: lists_only(parquet)),
            "parquet, dqmroot": best(lambda: read_table(parquet)["charge"].contents),
        }
    slowest = results["csv, pandas and json.loads"][0]
    print(f"{ROWS:,} rows of {BINS} bins\n{'':32}{'µs a row':>10}{'times faster':>14}")
    for name, (seconds, array) in results.items():
        assert np.array_equal(array, counts), name
        print(f"{name:32}{seconds / ROWS * 1e6:10.2f}{slowest / seconds:14.1f}")


if __name__ == "__main__":
    main()
