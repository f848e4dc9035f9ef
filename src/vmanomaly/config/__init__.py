"""The configuration: YAML files in, one validated and immutable `Config` out.

Everything that a user can get wrong is found here, before anything else runs, with a message
that names the place in the YAML, the bad value and what is expected.
"""

from vmanomaly.config.config import Config
from vmanomaly.config.loading.load import config_files, load_config
from vmanomaly.config.spec import resolved_yaml

__all__ = ["Config", "config_files", "load_config", "resolved_yaml"]
