"""Jobs in other processes: a pool on this machine, or on a Ray cluster. It knows no methods.

A job is plain data: the name of a function and what it is called with, as JSON. What a function returns is JSON too.
"""

from tfcompress.workers.jobs import Job, JobError, RaisedInJob
from tfcompress.workers.pool import Pool
from tfcompress.workers.settings import Workers, opened

__all__ = ["Job", "JobError", "Pool", "RaisedInJob", "Workers", "opened"]
