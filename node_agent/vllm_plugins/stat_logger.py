"""vLLM's door for its statistics: the entry point of group `vllm.stat_logger_plugins`. One instance an engine.

It calls `StepSums` and, once the engine is up, tells the plug-in what the engine is. It never raises into a step.
"""

import time
from typing import TYPE_CHECKING, Any

from . import plugin

if TYPE_CHECKING:
    # As the contract test finds it in the real one.
    class StatLoggerBase:
        def log(self) -> None: ...

else:
    from vllm.v1.metrics.loggers import StatLoggerBase

_CLOCK = time.monotonic


class StokerStatLogger(StatLoggerBase):
    def __init__(self, vllm_config: Any, engine_index: int = 0) -> None:
        self._config = vllm_config
        self._plugin = plugin.shared()
        self._sums = self._plugin.new_sums(engine_index)

    def record(
        self, scheduler_stats: Any = None, iteration_stats: Any = None, mm_cache_stats: Any = None, engine_idx: int = 0
    ) -> None:
        try:
            self._sums.add(scheduler_stats, iteration_stats, _CLOCK())
        except Exception as error:  # noqa: BLE001 - a step goes on without us
            self._plugin.problem(f"a step's statistics cannot be read: {error!r}")

    def log_engine_initialized(self) -> None:
        self._plugin.engine_is_up(self._config)

    def record_sleep_state(self, *_arguments: Any, **_options: Any) -> None:
        """Sleeping engines take no steps, so there is nothing to count."""
