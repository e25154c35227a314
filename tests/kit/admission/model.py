"""Which subgroup a pod is in, and which TPU processes it is told of (lws-contract 2.4 and 2.5).

A model for the tests: it lists the members of a group and cuts the list into parts, where the
policy calculates. What it says holds where all parts are of one size; the layouts in which
upstream's numbers do not fit together have literal expectations in the tests.
"""

from collections.abc import Sequence
from dataclasses import dataclass

FIRST_PORT = 8476


def parts(members: Sequence[int], size: int) -> list[list[int]]:
    """Cut a list into parts of `size`."""
    return [list(members[start : start + size]) for start in range(0, len(members), size)]


def subgroups(*, size: int, subgroup_size: int, excluded: bool = False) -> list[list[int]]:
    """Return the members of each subgroup by their place in the group; the leader is 0."""
    workers = list(range(1, size))
    if excluded:
        return parts(workers, subgroup_size)
    if size % subgroup_size == 0:
        return parts([0, *workers], subgroup_size)
    first, *others = parts(workers, subgroup_size)
    return [[0, *first], *others]


@dataclass(frozen=True)
class Tpu:
    """TPU processes of one group.

    leader: the name of the leader's pod.
    subdomain: of all pods of the group.
    size: of the group.
    leader_asks: whether the leader asks for TPUs.
    subgroup_size: 0 without subgroups.
    ports: of each container that asks, in the pod that is told.
    """

    leader: str
    subdomain: str
    size: int
    leader_asks: bool
    subgroup_size: int = 0
    ports: Sequence[str] = (str(FIRST_PORT),)

    def beside(self, place: int) -> list[int]:
        """Return the members that run processes together with the one at `place`, itself too."""
        everybody = [*([0] if self.leader_asks else []), *range(1, self.size)]
        if not self.subgroup_size:
            return everybody
        (found,) = (part for part in parts(everybody, self.subgroup_size) if place in part)
        return found

    def host(self, place: int) -> str:
        """Return the address of a member."""
        name = self.leader if place == 0 else f"{self.leader}-{place}"
        return f"{name}.{self.subdomain}"

    def variables(self, place: int) -> list[dict[str, str]]:
        """Return the variables of each container that gets any, in the pod at `place`."""
        ports = self.ports[:1] if self.subgroup_size else self.ports
        processes = [(m, i) for m in self.beside(place) for i in range(len(ports))]
        return [
            {
                "TPU_WORKER_HOSTNAMES": ",".join(self.host(m) for m, _ in processes),
                "TPU_WORKER_ID": str(processes.index((place, i))),
                "TPU_NAME": self.leader,
                "TPU_PROCESS_ADDRESSES": ",".join(
                    f"{self.host(m)}:{ports[j]}" for m, j in processes
                ),
                "TPU_PROCESS_PORT": ports[i],
            }
            for i in range(len(ports))
        ]
