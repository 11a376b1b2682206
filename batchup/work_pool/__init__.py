"""Who does it: threads, processes and the nodes of a cluster make batches, and do other tasks, ahead of need."""

from batchup.work_pool.abstract import AbstractWorkerPool
from batchup.work_pool.cluster.pool import WorkerRayPool
from batchup.work_pool.parallel import ParallelDataSource
from batchup.work_pool.processes import WorkerProcessPool
from batchup.work_pool.threads import WorkerThreadPool
from batchup.work_pool.work_stream import WorkStream

__all__ = [
    "AbstractWorkerPool",
    "ParallelDataSource",
    "WorkStream",
    "WorkerProcessPool",
    "WorkerRayPool",
    "WorkerThreadPool",
]
