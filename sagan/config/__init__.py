"""Gin configs: parsing with helpful errors, and checked settings."""

from sagan.config.checked import (
    AtLeast,
    Channels,
    Count,
    Fraction,
    Natural,
    Needs,
    NonNegative,
    Range,
    check_size,
    checked,
    mismatch,
)
from sagan.config.parsing import (
    CONFIG_FILE,
    OPERATIVE_CONFIG_FILE,
    config_batch_size,
    config_name,
    parse_config,
    settings_of,
    train_settings,
)
from sagan.config.statements import Literals, Macro

__all__ = [
    "CONFIG_FILE",
    "OPERATIVE_CONFIG_FILE",
    "AtLeast",
    "Channels",
    "Count",
    "Fraction",
    "Literals",
    "Macro",
    "Natural",
    "Needs",
    "NonNegative",
    "Range",
    "check_size",
    "checked",
    "config_batch_size",
    "config_name",
    "mismatch",
    "parse_config",
    "settings_of",
    "train_settings",
]
