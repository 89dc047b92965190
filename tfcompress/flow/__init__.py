"""A flow: several methods in turn, each from the last one's result, within one budget that is split over them."""

from tfcompress.flow.call import Call
from tfcompress.flow.running import run_flow
from tfcompress.flow.split import given_split
from tfcompress.flow.stages import methods_of

__all__ = ["Call", "given_split", "methods_of", "run_flow"]
