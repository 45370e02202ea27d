"""What recomputing evicted prefixes has cost, by tenant. Pure; kept by `residency`, told in every report.

A block that the engine stores although it held and evicted the same block before was computed twice. Its FLOPs are
counted as vLLM's own estimate of a prefill does (`vllm:estimated_flops_per_gpu_total`, with --enable-mfu-metrics): two
for each active parameter and token, and 4 · layers · heads · head size for each token and token of its context, without
the causal halving; here the context of a token ends with its block. They become seconds by the speed that the engine's
own prefill steps showed.
"""

from dataclasses import dataclass

from node_agent.session.inside import ModelShape, RecomputeBill, StepTotals
from node_agent.session.values import Source

ROOTS_MAX = 1024
BILLS_MAX = 32


@dataclass(slots=True)
class _Totals:
    tenant: str = ""
    tokens: int = 0
    context_tokens: int = 0  # of each recomputed token, summed
    flops_timed: float = 0.0  # of which the seconds were counted
    seconds: float | None = None


class RecomputeTotals:
    """Sums by the root of a prefix (its cache salt and adapter), because notes tell later whose root that is."""

    __slots__ = ("_by_root", "_others")

    def __init__(self) -> None:
        self._by_root: dict[int, _Totals] = {}
        self._others = _Totals()

    def add(self, root: int | None, tenant: str, tokens: int, context_tokens: int) -> None:
        """A block was recomputed. `context_tokens`: up to its end. `root`: None when its beginning is not known."""
        totals = self._others if root is None else self._totals(root)
        totals.tenant = totals.tenant if totals is self._others else tenant or totals.tenant
        totals.tokens += tokens
        totals.context_tokens += tokens * context_tokens

    def name(self, root: int, tenant: str) -> None:
        """The root is this tenant's."""
        if root in self._by_root:
            self._by_root[root].tenant = tenant

    def bills(self, shape: ModelShape | None, steps: StepTotals | None) -> tuple[RecomputeBill, ...]:
        """One for each of the largest tenants, largest first, and one with tenant "" for all the rest.

        What was recomputed since the last call becomes seconds by the speed known now, so that no total ever falls.
        """
        every = [totals for totals in (*self._by_root.values(), self._others) if totals.tokens]
        for totals in every:
            _time(totals, shape, steps)
        by_tenant: dict[str, list[_Totals]] = {}
        for totals in every:
            by_tenant.setdefault(totals.tenant, []).append(totals)
        named = sorted(
            (tenant for tenant in by_tenant if tenant), key=lambda tenant: (-_tokens(by_tenant[tenant]), tenant)
        )
        bills = [_bill(tenant, by_tenant[tenant], shape) for tenant in named[: BILLS_MAX - 1]]
        rest = by_tenant.get("", []) + [totals for tenant in named[BILLS_MAX - 1 :] for totals in by_tenant[tenant]]
        return (*bills, _bill("", rest, shape)) if rest else tuple(bills)

    def _totals(self, root: int) -> _Totals:
        if root not in self._by_root and len(self._by_root) >= ROOTS_MAX:
            return self._others
        return self._by_root.setdefault(root, _Totals())


def flops_of(shape: ModelShape | None, tokens: int, context_tokens: int) -> float | None:
    """Of computing so many tokens with so much context, summed; None when the model's shape is not known."""
    if shape is None:
        return None
    parameters = shape.active_parameters if shape.active_parameters is not None else shape.parameters
    if parameters is None or shape.layers is None or shape.attention_heads is None or shape.head_size is None:
        return None
    attention = 4.0 * shape.layers * shape.attention_heads * shape.head_size * context_tokens
    return 2.0 * parameters * tokens + attention


def _time(totals: _Totals, shape: ModelShape | None, steps: StepTotals | None) -> None:
    flops = flops_of(shape, totals.tokens, totals.context_tokens)
    if flops is None or steps is None or steps.prefill_flops <= 0 or steps.prefill_seconds <= 0:
        return
    new = max(0.0, flops - totals.flops_timed)
    totals.seconds = (totals.seconds or 0.0) + new * steps.prefill_seconds / steps.prefill_flops
    totals.flops_timed = max(flops, totals.flops_timed)


def _tokens(parts: list[_Totals]) -> int:
    return sum(part.tokens for part in parts)


def _bill(tenant: str, parts: list[_Totals], shape: ModelShape | None) -> RecomputeBill:
    seconds = [part.seconds for part in parts if part.seconds is not None]
    tokens = _tokens(parts)
    return RecomputeBill(
        tenant=tenant,
        tokens=tokens,
        flops=flops_of(shape, tokens, sum(part.context_tokens for part in parts)),
        seconds=sum(seconds) if len(seconds) == len(parts) else None,
        seconds_source=Source.MEASURED,
    )
