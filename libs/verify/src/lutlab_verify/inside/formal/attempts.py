"""The registers one concurrent assertion looks at: booleans of past ticks, and since when it is not disabled."""

from __future__ import annotations

from lutlab_verify.inside.formal.history import Helpers, Twins
from lutlab_verify.inside.formal.sva import Implication, Word, matches, violations


class Attempts:
    """Text for one property. Its booleans, ended by a number, are wires `lutlab_<property>_b<number>`."""

    def __init__(
        self, helpers: Helpers, number: int, implication: Implication, booleans: list[Twins], off: Twins
    ) -> None:  # fmt: skip
        """
        Args:
            helpers: for past values; has the clock.
            number: of the property.
            implication: the property.
            booleans: in the order in which its words number them.
            off: the disable condition.
        """
        self._helpers = helpers
        self._stem = f"lutlab_{number}_"
        self._implication = implication
        self._depth = implication.history
        self._booleans = booleans
        self._off = off

    @property
    def clock(self) -> str | None:
        """The event control."""
        return self._helpers.clock

    @property
    def conditional(self) -> bool:
        """Whether there is an antecedent."""
        return self._implication.conditional

    def covered(self) -> str:
        """The sequence ends now. To be asked for before `before`."""
        return matches(self._implication.consequent, self._holds, self._known)

    def reached(self) -> str:
        """The antecedent ends now. To be asked for before `before`."""
        return matches(self._implication.antecedent, self._holds, self._known)

    def violated(self) -> str:
        """An attempt fails now. Raises: TooLarge."""
        return violations(self._implication, self._holds, self._alive)

    def before(self) -> Twins:
        """Declarations and clocked assignments; those of `$past` first, because they are used here."""
        declarations, clocked = [], []
        for number, twins in enumerate(self._booleans):
            name = f"{self._stem}b{number}"
            declarations.append(Twins(f"wire {name} = {twins.model};", f"wire {name} = {twins.replay};"))
            if self._depth:
                declarations.append(Twins.same(f"reg [{self._depth - 1}:0] {name}h;"))
                clocked.append(f"{name}h <= {{{name}h, {name}}};")
        off, on = f"{self._stem}off", f"{self._stem}on"
        declarations.append(Twins(f"wire {off} = {self._off.model};", f"wire {off} = {self._off.replay};"))
        if self._depth:
            declarations.append(Twins.same(f"reg [{self._depth - 1}:0] {on} = 0;"))
            clocked.append(f"{on} <= {off} ? {self._depth}'d0 : {{{on}, 1'b1}};")
        block = f"always {self.clock} begin {' '.join(clocked)} end" if clocked else ""
        past = self._helpers.text()
        model = " ".join([past.model, *(one.model for one in declarations), block])
        replay = " ".join([past.replay, *(one.replay for one in declarations), block])
        return Twins(model, replay)

    def _holds(self, boolean: int, ago: int) -> str:
        """A boolean, some ticks ago."""
        name = f"{self._stem}b{boolean}"
        return name if ago == 0 else f"{name}h[{ago - 1}]"

    def _alive(self, ticks: int) -> str:
        """An attempt that began so many ticks ago exists and was not disabled."""
        now = f"!{self._stem}off"
        return now if ticks == 0 else f"{now} && {self._stem}on[{ticks - 1}]"

    def _known(self, word: Word) -> str:
        """The attempt that a word ends exists, was not disabled, and looked back at nothing before the first tick."""
        backs = [(word.end - tick, self._booleans[boolean].back) for tick, boolean in word.needs]
        ticks = max((ago + back for ago, back in backs if back), default=0)
        alive = self._alive(word.end)
        return f"{alive} && {self._helpers.seen(ticks)}" if ticks > word.end else alive
