# /// script
# requires-python = ">=3.11"
# dependencies = ["dspy>=3.4"]
# ///
"""DSPy, whose requests go through LiteLLM's client."""

from __future__ import annotations

import os

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else the table of prices is fetched when it is imported

import dspy
from tried import BROKEN, KEY, MODEL, QUESTION, URL, report


def lm(kind="openai", model=MODEL):
    return dspy.LM(f"{kind}/{model}", api_base=URL, api_key=KEY, cache=False, num_retries=0)


def whole():
    return lm()(QUESTION)[0]


def messages_whole():
    return lm("anthropic")(QUESTION)[0]


def predict():
    with dspy.context(lm=lm(model="json"), adapter=dspy.JSONAdapter()):
        return dspy.Predict("question -> answer: str, degrees: int")(question=QUESTION).degrees


def error():
    try:
        lm(model=BROKEN)(QUESTION)
    except Exception as failed:
        return f"{type(failed).__name__}: {failed}"
    raise AssertionError("no error")


report("dspy", whole, messages_whole, predict, error)
