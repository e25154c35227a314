"""What docs/gitops.md has Argo CD and Flux think of a set is what its conditions say."""

import re
from pathlib import Path
from typing import Any

import celpy
import lupa
import pytest
import yaml

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "gitops.md").read_text(encoding="utf-8")
(SCRIPT,) = re.findall(r"```lua\n(.*?)```", TEXT, re.DOTALL)


def condition(kind: str, status: str = "True", *, generation: int | None = 2) -> dict[str, Any]:
    made = {"type": kind, "status": status, "reason": "R", "message": f"of {kind}"}
    return made if generation is None else {**made, "observedGeneration": generation}


def table(lua: Any, value: Any) -> Any:
    """Return a value as Lua has it; an absent field is none."""
    if isinstance(value, dict):
        return lua.table_from({key: table(lua, each) for key, each in value.items()})
    if isinstance(value, list):
        return lua.table_from([table(lua, each) for each in value])
    return value


def health(obj: dict[str, Any]) -> tuple[str, str]:
    lua = lupa.LuaRuntime()
    lua.globals().obj = table(lua, obj)
    found = lua.execute(SCRIPT)
    return found["status"], found["message"]


def a_set(*conditions: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"name": "serve", "generation": 2}, "status": {"conditions": [*conditions]}}


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        ({"metadata": {"generation": 1}}, "Progressing"),
        (a_set(), "Progressing"),
        (a_set(condition("Available")), "Healthy"),
        # Of before a change: nobody has looked at the set as it is now.
        (a_set(condition("Available", generation=1)), "Progressing"),
        (a_set(condition("Available", generation=None)), "Healthy"),
        (a_set(condition("Available", "False"), condition("Progressing")), "Progressing"),
        (a_set(condition("UpdateInProgress"), condition("Progressing")), "Progressing"),
        (a_set(condition("Progressing"), condition("WaitingForAdmission")), "Suspended"),
        (a_set(condition("WaitingForAdmission"), condition("RepairBackOff")), "Degraded"),
        (a_set(condition("RepairBackOff"), condition("Available")), "Degraded"),
    ],
)
def test_argo_cd_is_told_the_health_of_a_set(obj: dict[str, Any], expected: str) -> None:
    assert health(obj)[0] == expected


def test_the_message_is_that_of_the_condition_that_decides() -> None:
    said = health(a_set(condition("Progressing"), condition("WaitingForAdmission")))
    assert said == ("Suspended", "of WaitingForAdmission")


def flux(obj: dict[str, Any]) -> set[str]:
    """Return the names of the expressions that hold."""
    (block,) = re.findall(r"```yaml\n(healthCheckExprs:.*?)```", TEXT, re.DOTALL)
    (expressions,) = yaml.safe_load(block)["healthCheckExprs"]
    environment = celpy.Environment()
    given = {key: celpy.json_to_cel(value) for key, value in obj.items()}
    return {
        name
        for name in ("current", "inProgress", "failed")
        if environment.program(environment.compile(expressions[name])).evaluate(given)
    }


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ([], {"inProgress"}),
        ([condition("Available")], {"current"}),
        ([condition("Available", generation=1)], {"inProgress"}),
        ([condition("Progressing"), condition("WaitingForAdmission")], {"inProgress"}),
        ([condition("Progressing"), condition("RepairBackOff")], {"inProgress", "failed"}),
    ],
)
def test_flux_is_told_the_health_of_a_set(
    conditions: list[dict[str, Any]], expected: set[str]
) -> None:
    assert flux(a_set(*conditions)) == expected
