"""Bodies about the pins and signals of boards without hardware."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field

from lutlab_api.web.models import Model, StrictInt

PINS_MAX = 64


class Pin(Model):
    """A pin of a design that runs on a board without hardware."""

    name: str = Field(
        description="`tx`, `rx`, `led0`, `button0`, `switch0` ..., or as the package calls it", examples=["led0"]
    )
    pin: str = Field(description="as the package calls it", examples=["B2"])
    way: str = Field(description="`in` or `out` of the chip")
    level: int = Field(description="0 or 1")


class SignalShape(Model):
    """Something that can be recorded."""

    name: str = Field(description="as `capture` takes it", examples=["count"])
    bits: int = Field(description="how wide it is")


def _few(pins: Any) -> Any:
    """Pass what is not too many to be looked at one by one."""
    if isinstance(pins, dict) and len(pins) > PINS_MAX:
        raise ValueError(f"at most {PINS_MAX} pins can be set at once, these are {len(pins)}")
    return pins


class PinLevels(Model):
    """Levels to set."""

    model_config = ConfigDict(frozen=True, json_schema_extra={"examples": [{"pins": {"button0": 1}}]})

    pins: Annotated[dict[str, Annotated[StrictInt, Field(ge=0, le=1)]], BeforeValidator(_few)] = Field(
        description="by name or pin; inputs of the design other than rx and clk", max_length=PINS_MAX
    )


class TriggerBody(Model):
    """Where a recording starts."""

    signal: str = Field(max_length=100)
    level: StrictInt = Field(
        ge=0, lt=1 << 63, description="when the signal changes to this: 0 or 1, or a number for one of several bits"
    )


class CaptureBody(Model):
    """What to record."""

    model_config = ConfigDict(
        frozen=True,
        json_schema_extra={
            "examples": [{"cycles": 400, "signals": ["rx", "tx"], "trigger": {"signal": "tx", "level": 0}}]
        },
    )

    cycles: StrictInt = Field(ge=1, le=100_000, description="of the board's clock")
    signals: list[Annotated[str, Field(max_length=100)]] = Field(
        default_factory=list,
        max_length=256,
        description="as `GET .../signals` names them: pins, the design's own signals, registers by their place such as "
        "`R12C5 SLICEA register 0`; all pins if left out",
    )
    trigger: TriggerBody | None = Field(None, description="when to start; at once if left out")
    wait_s: float = Field(5.0, ge=0, le=30, description="how long to wait for the trigger")
