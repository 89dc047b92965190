"""Jobs in other processes: a pool on this machine, or on a Ray cluster; independent of methods.

A job is plain data: the name of a function and its arguments, as JSON. The function returns JSON too.
"""

from tfcompress.workers.jobs import Job, JobError, RaisedInJob
from tfcompress.workers.pool import Pool
from tfcompress.workers.settings import Workers, opened

__all__ = ["Job", "JobError", "Pool", "RaisedInJob", "Workers", "opened"]
