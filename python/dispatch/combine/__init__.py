"""Plans that ask several models for one answer: what a plan sees of a request, how it asks, and how it answers.

`course` is a request on its way under such a plan: a coroutine that asks the plan's parts and delivers. `question` changes a request in
its own dialect, `reply` reads an answer. The kinds themselves are in `plans`.
"""

from __future__ import annotations
