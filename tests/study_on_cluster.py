"""A script: a study on two workers of Dask or Ray. One worker is killed in the middle of a job."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import joblib
from sklearn.naive_bayes import GaussianNB

import ganfold

KILLED = "GANFOLD_TEST_KILLED"  # an environment variable: the file that the killed worker leaves
OPTIONS: dict[str, Any] = {
    "replicates": 1, "kimg": 0.064, "share": 0.8, "factor": 2.0, "steps": 2, "progress": False,
    "options": {"batch": 8, "width": 4},
}  # fmt: skip


class Deadly(GaussianNB):  # type: ignore[misc]
    """Kills its process at the first fit of all."""

    def fit(self, *values: Any, **named: Any) -> Any:
        path = Path(os.environ[KILLED])
        if not path.exists():
            path.write_text(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGKILL)
        return super().fit(*values, **named)


@contextmanager
def dask() -> Iterator[None]:
    from dask.distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster),
        joblib.parallel_config("dask"),
    ):
        yield


@contextmanager
def ray() -> Iterator[None]:
    import ray
    from ray.util.joblib import register_ray

    register_ray()
    ray.init(num_cpus=2, include_dashboard=False)
    try:
        with joblib.parallel_config("ray", n_jobs=2):
            yield
    finally:
        ray.shutdown()


def main(backend: str, data: str, out: str) -> None:
    from study_on_cluster import Deadly as Classifier  # by its module's name, which workers import

    for attempt in (1, 2):
        try:
            with {"dask": dask, "ray": ray}[backend]():
                study = ganfold.study(data, out, classifiers=(Classifier,), **OPTIONS)
            print(f"attempt {attempt}: {len(study.rows)} rows")
            return
        except Exception as error:
            print(f"attempt {attempt}: {type(error).__name__} {error}"[:300])


if __name__ == "__main__":
    main(*sys.argv[1:])
