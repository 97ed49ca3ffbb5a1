"""A request under a plan that asks several models: a coroutine that asks the plan's parts, and delivers one answer.

Each ask is a *branch* of the client's call: an attempt of its own for limits, breakers and the ledger. The call pays for all of them:
its usage is their sum. What is under way when the coroutine ends, or the client leaves, is cancelled upstream at once.
"""

from __future__ import annotations

import asyncio
from time import monotonic_ns, time
from typing import TYPE_CHECKING

import anyio

from dispatch.combine.purse import BudgetSpent, purses_above
from dispatch.combine.question import DOORS, Question, door_of
from dispatch.combine.reply import Made, Reply, events_of
from dispatch.combine.spending import Spending
from dispatch.combine.sums import Sum, more_than
from dispatch.combine.telling import Telling
from dispatch.combine.waiting import Passed, Whole
from dispatch.dialects.table import DIALECTS
from dispatch.errors import DeadlineExceeded, DispatchError, Failure, PlanFailed
from dispatch.exchange import Rewritable
from dispatch.links import endpoint_lines
from dispatch.policy.cost import estimate_tokens
from dispatch.replies import framed
from dispatch.wire.sse import LAST_CHUNK

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Sequence

    from dispatch.config import Budget
    from dispatch.exchange import Answer, Call
    from dispatch.plans.base import Failed, Site, Start

__all__ = ["Course", "Outcome"]

Outcome = Reply | DispatchError
"""What became of a branch."""


class Course(Telling):
    """See the module.

    Args:
        play: the plan, which is to end by `deliver` or `relay`, or by raising a `DispatchError`.
        parts: of the plan.
        doors: by which its requests may come; None: any, and nothing is asked but what the client asks.

    Attributes:
        purses: what its asks are paid from.
        question: what the client asks, whole.
    """

    def __init__(
        self,
        call: Call,
        failed: Failed,
        *,
        play: Callable[[Course], Awaitable[None]],
        parts: Sequence[Start],
        site: Site,
        budget: Budget | None,
        doors: Collection[str] | None = DOORS,
    ) -> None:
        super().__init__(call, site)
        self.question: Question
        self._failed = failed
        self._doors = doors
        self._play = play
        self._parts = parts
        self._spending = Spending(budget, site.pools, purses_above(call))
        self.purses = self._spending.purses
        self._before = call.attempts
        self._branches: list[Call] = []
        self._under_way: dict[Call, int] = {}
        """With the part that each was asked of."""
        self._passed: Call | None = None
        self._sum: Sum | None = None
        self._is_paused = False
        self._is_over = False
        self._started_ns = monotonic_ns()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        call = self.call
        if self._doors is not None:
            try:
                self.question = Question.of(call, self._doors)
            except DispatchError as error:
                self._failed(call, error)
                return
        for purse in self.purses:
            purse.enter(call)
        call.run = self
        self._begin_record()
        self._site.watch.add(self)
        self._task = asyncio.get_running_loop().create_task(self._main())

    async def _main(self) -> None:
        try:
            await self._play(self)
        except BudgetSpent as error:
            # To a plan above, this one has failed: its own budget may hold out.
            self._fail(PlanFailed(error.message))
        except DispatchError as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001  # a fault of a plan is one request's, and is told
            asyncio.get_running_loop().call_exception_handler({"message": f"the plan {self._site.path} failed", "exception": error})
            self._fail(PlanFailed(f"the plan of {self.call.model!r} failed: {type(error).__name__}"))

    async def ask(self, part: int, question: Question | None = None) -> Reply:
        """Ask a part, and wait for its whole answer.

        Raises:
            BudgetSpent: the budget allows no further call.
            DispatchError: there is no answer.
        """
        sink = Whole()
        await self._spending.admit()
        branch = self._branch(sink, part, question, stream=False)
        self._under_way[branch] = part
        try:
            self._parts[part](branch, sink.fail)
            answer = await sink.future
        except asyncio.CancelledError:
            self._stop(branch)
            raise
        except DispatchError as error:
            raise self._late(branch, error) from error.__cause__
        finally:
            self._end(branch)
        return Reply(answer, branch, part)

    def _late(self, branch: Call, error: DispatchError) -> DispatchError:
        """What it means that a branch failed: where its time was over, and not the request's, the plan's budget is spent."""
        is_over = isinstance(error, DeadlineExceeded) or monotonic_ns() >= branch.deadline_ns
        return BudgetSpent("the time that the plan allows is over") if is_over and branch.deadline_ns < self.call.deadline_ns else error

    async def ask_all(
        self,
        asks: Sequence[tuple[int, Question | None]],
        enough: Callable[[list[Outcome | None]], bool] | None = None,
        at_once: int = 1 << 30,
    ) -> list[Outcome | None]:
        """Ask several parts at once; return what each came to, in their order.

        Args:
            asks: part and question of each.
            enough: asked after each outcome; true cancels those that are still under way (None in the result).
            at_once: most that are under way at a time.

        Raises:
            DispatchError: the last one's, if there is no answer at all.
        """
        outcomes: list[Outcome | None] = [None] * len(asks)
        last: DispatchError | None = None
        limit = anyio.Semaphore(at_once)
        async with anyio.create_task_group() as group:

            async def one(place: int, part: int, question: Question | None) -> None:
                nonlocal last
                async with limit:
                    try:
                        outcomes[place] = await self.ask(part, question)
                    except DispatchError as error:
                        outcomes[place] = last = error
                if enough is not None and enough(outcomes):
                    group.cancel_scope.cancel()

            for place, (part, question) in enumerate(asks):
                group.start_soon(one, place, part, question)
        if last is not None and not any(isinstance(outcome, Reply) for outcome in outcomes):
            raise last
        return outcomes

    async def relay(self, part: int, question: Question | None = None) -> None:
        """Let a part give the client its answer, as it comes. Raises `DispatchError`: there is none, and nothing has gone out."""
        call = self.call
        sink = Passed(self)
        await self._spending.admit()
        branch = self._branch(sink, part, question, stream=call.stream)
        self._passed = branch
        self._under_way[branch] = part
        try:
            self._parts[part](branch, sink.fail)
            if self._is_paused and branch.run is not None:
                branch.run.pause()
            await sink.future
        except asyncio.CancelledError:
            self._stop(branch)
            raise
        except DispatchError as error:
            raise self._late(branch, error) from error.__cause__
        finally:
            self._passed = None
            if not self._is_over:
                self._end(branch)

    def begin(self, branch: Call) -> None:
        """The answer of `branch` begins to go out."""
        call = self.call
        self._sum = Sum(door_of(call), self._spending.usage)
        call.attempts = self._before + sum(one.attempts for one in self._branches)
        self._dress(branch)
        call.answer = branch.answer
        call.committed = True
        call.body = None

    def summed(self, data: bytes) -> bytes:
        """Bytes of the stream that goes out, with the usage of all answers that are in it."""
        return data if self._sum is None else self._sum.stream(data, is_chunked=self.call.chunked)

    def pass_end(self, branch: Call, answer: Answer | None, tail: bytes) -> None:
        """The answer of `branch` is whole."""
        call = self.call
        self._end(branch)
        call.first_ns = branch.first_ns
        if answer is not None:
            self._deliver(branch, answer)
            return
        if not call.committed:
            self.begin(branch)
        self._close(branch)
        call.sink.on_end(call, self.summed(tail))
        self._site.finish(call, Failure.NONE)

    def tell(self, progress: str) -> None:
        """Tell the client of a stream how far the plan is, if it wants to hear that."""
        if (call := self.call).stream and call.queue_events and not call.committed and call.run is self:
            call.progress = progress.encode()
            call.sink.on_silence(call)

    @property
    def until_ns(self) -> int:
        """When the request's deadline, or the time of the plan's budget, is over."""
        return min(self.call.deadline_ns, self._spending.deadline_ns(self._started_ns) or self.call.deadline_ns)

    def deliver(self, reply: Reply) -> None:
        """Give the client an answer that came whole."""
        if reply.call.wants_logprobs and not self.call.wants_logprobs:
            reply = reply.discreet()
        if not self.call.stream:
            self._deliver(reply.call, reply.answer)
            return
        call = self.call
        writer = DIALECTS[door_of(call)].writer(int(time()), wants_usage=call.wants_usage)
        data = framed(writer.write(events_of(self._beside(reply.call).form(reply.form))), call.chunked)
        tail = framed(writer.end(), call.chunked) if call.chunked else writer.end()
        self._dress(reply.call)
        call.answer = None
        call.committed = True
        call.body = None
        call.first_ns = monotonic_ns()
        self._close(reply.call)
        call.sink.on_chunk(call, data)
        call.sink.on_end(call, tail + LAST_CHUNK if call.chunked else tail)
        self._site.finish(call, Failure.NONE)

    def deliver_made(self, like: Reply, body: bytes) -> None:
        """Give the client a body that the plan made, under the head of an answer that it was made of."""
        self._deliver(like.call, Made(like.answer, body))

    def _deliver(self, branch: Call, answer: Answer) -> None:
        call = self.call
        self._dress(branch)
        call.lines = endpoint_lines(branch.endpoint, call.attempts)
        self._close(branch)
        body = self._beside(branch).body(answer.body)
        call.sink.on_answer(call, answer if body is answer.body else Made(answer, body))
        self._site.finish(call, Failure.NONE)

    def _beside(self, branch: Call) -> Sum:
        """What all answers used but that of `branch`."""
        return Sum(door_of(self.call), more_than(branch.usage, self._spending.usage))

    def _dress(self, branch: Call) -> None:
        """Say on the client's call what happened."""
        call = self.call
        call.endpoint = branch.endpoint
        call.notes += self._spending.note() if call.parent is None else b""

    def _end_record(self, chosen: str, why: str) -> None:
        self._record(chosen, why, [one.told() for one in self._spending.trace])

    def _close(self, branch: Call) -> None:
        call = self.call
        self._is_over = True
        self._site.watch.discard(self)
        self._end_record(branch.endpoint, "answered")
        call.usage = self._spending.usage
        call.cost_pico = self._spending.pico
        call.answered_ns = branch.answered_ns or monotonic_ns()
        call.run = None

    def _branch(self, sink: Whole | Passed, part: int, question: Question | None, *, stream: bool) -> Call:
        call = self.call
        if self._is_over:
            # A task that begins after the course was cancelled, and before it is cancelled itself.
            raise BudgetSpent("nobody waits for this answer any more")
        branch = call.branch(sink)
        branch.is_part = True
        branch.stream = stream
        if call.stream and not stream:
            question = question or self.question
        if question is not None:
            assert isinstance(call.body, Rewritable)
            branch.door = call.door if stream else question.door
            branch.wants_logprobs = question.wants_logprobs
            branch.body = body = (question.streamed(with_usage=call.wants_usage) if stream else question).body(call.body, call.door)
            branch.tokens_in = estimate_tokens(body.text_bytes)
        if not stream:
            branch.deadline_ns = min(branch.deadline_ns, self.until_ns)
        self._spending.reserve(branch, part)
        if not (self._branches or self._before):
            call.overhead_ns = branch.received_ns - call.received_ns
        self._branches.append(branch)
        return branch

    def _stop(self, branch: Call) -> None:
        if branch.run is not None:
            branch.run.cancel()

    def _end(self, branch: Call) -> None:
        """A branch is over, in whatever way."""
        part = self._under_way.pop(branch, None)
        if part is None:
            return
        self._spending.settle(branch, part)
        self.call.attempts = self._before + sum(one.attempts for one in self._branches)

    def _fail(self, error: DispatchError) -> None:
        if self._is_over:
            return
        call = self.call
        self._is_over = True
        self._site.watch.discard(self)
        call.run = None
        call.usage = self._spending.usage
        call.cost_pico = self._spending.pico
        call.endpoint = self._branches[-1].endpoint if self._branches else call.endpoint
        self._end_record("", f"failed: {error.message}")
        if call.parent is None and self._spending.trace:
            call.notes += self._spending.note()
        self._failed(call, error)

    def cancel(self) -> None:
        """Nobody needs the answer any more."""
        self._is_over = True
        self._site.watch.discard(self)
        for branch in [*self._under_way]:
            self._stop(branch)
            self._end(branch)
        self._end_record("", "cancelled")
        # What was paid for until now is paid for, also where a plan above goes on.
        self.call.usage = self._spending.usage
        self.call.cost_pico = self._spending.pico
        self.call.attempts = self._before + sum(one.attempts for one in self._branches)
        self.call.run = None
        if self._task is not None:
            self._task.cancel()

    def pause(self) -> None:
        self._is_paused = True
        if self._passed is not None and self._passed.run is not None:
            self._passed.run.pause()

    def resume(self) -> None:
        self._is_paused = False
        if self._passed is not None and self._passed.run is not None:
            self._passed.run.resume()

    def check(self, now_ns: int) -> None:
        """Look at the clock. Branches have clocks of their own; without one, a plan waits for something that has none."""
        call = self.call
        if now_ns >= call.deadline_ns and not self._under_way:
            self.cancel()
            self._failed(call, DeadlineExceeded(f"no whole answer within the deadline, after {call.attempts} attempts"))

    def keep_awake(self, now_ns: int, silent_since_ns: int) -> None:
        """Send a comment to the client of a stream that has not begun for long."""
        if (call := self.call).stream and not call.committed and call.heard_ns < silent_since_ns and call.run is self:
            call.heard_ns = now_ns
            call.sink.on_silence(call)

    def as_call(self) -> Call:
        return self.call
