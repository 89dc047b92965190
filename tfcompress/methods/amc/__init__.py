"""AMC: AutoML for model compression and acceleration on mobile devices."""

from tfcompress.methods.amc.method import AMC
from tfcompress.methods.amc.settings import AgentSettings

__all__ = ["AMC", "AgentSettings"]
