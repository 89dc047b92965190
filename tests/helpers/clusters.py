"""A Ray cluster of two nodes with a processor each on this machine."""

import contextlib
import os
import pathlib
from unittest import mock

ROOT = pathlib.Path(__file__).resolve().parents[2]


@contextlib.contextmanager
def started(*paths):
    """Starts the cluster, whose address is in RAY_ADDRESS meanwhile; its processes import from `paths` too."""
    from ray.cluster_utils import Cluster

    environment = {
        "PYTHONPATH": os.pathsep.join(map(str, [ROOT, *paths])),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_worker_niceness": "0",  # 15 otherwise: on a busy machine jobs then wait for minutes
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    with mock.patch.dict(os.environ, environment):
        node = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
        cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
        try:
            cluster.add_node(**node)
            with mock.patch.dict(os.environ, {"RAY_ADDRESS": cluster.address}):
                yield cluster.address
        finally:
            cluster.shutdown()
