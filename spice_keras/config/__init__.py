"""The configuration of a run: schema, files and overrides, and the arithmetic that follows."""

from spice_keras.config.loading import load_config, shipped_configs
from spice_keras.config.plan import Plan, make_plan
from spice_keras.config.schema import RunConfig

__all__ = ["Plan", "RunConfig", "load_config", "make_plan", "shipped_configs"]
