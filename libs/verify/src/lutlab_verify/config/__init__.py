"""`lutlab.yaml`: its model, how it is read, and what is said when it is wrong."""

from lutlab_verify.config.demands import refuse_unsupported
from lutlab_verify.config.document import override_of
from lutlab_verify.config.errors import ConfigError, Problem
from lutlab_verify.config.model import Config
from lutlab_verify.config.reading import (
    FILE_NAMES,
    configuration_name,
    constraint_files,
    load,
    parse,
    project_files,
    resolve,
)
from lutlab_verify.config.schema import schema
from lutlab_verify.config.starter import stages_of, starter

__all__ = [
    "FILE_NAMES",
    "Config",
    "ConfigError",
    "Problem",
    "configuration_name",
    "constraint_files",
    "load",
    "override_of",
    "parse",
    "project_files",
    "refuse_unsupported",
    "resolve",
    "schema",
    "stages_of",
    "starter",
]
