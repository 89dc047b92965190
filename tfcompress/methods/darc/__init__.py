"""DARC: learns which layers can be replaced by cheaper ones; and the baselines that choose without learning."""

from tfcompress.methods.darc.baselines import Replaced
from tfcompress.methods.darc.method import DARC

__all__ = ["DARC", "Replaced"]
