"""Random lives of a set on several clusters: what people, clusters and accidents do to it."""

import random
from collections.abc import Callable
from dataclasses import replace

from lws_kueue.api import names
from lws_kueue.dispatch import settings
from tests.kit.memory.kubernetes_model import Object, true
from tests.kit.memory.multikueue import manager, queue, world

PLENTY = 40


class Life:
    """One life; the same ``seed`` gives the same one.

    ``strangers`` says that people in the workers touch what is not theirs.
    """

    def __init__(self, seed: int, *, strangers: bool = False) -> None:
        self.rng = rng = random.Random(seed)
        options = replace(
            world.OPTIONS,
            mode=rng.choice(list(settings.Mode)),
            order=rng.choice(list(settings.Order)),
            step_size=rng.choice([1, 1, 2]),
        )
        size = rng.choice([1, 1, 2])
        quotas = tuple(rng.randint(0, 3) * size for _ in range(rng.choice([2, 2, 3])))
        wishes = {}
        if rng.random() < 0.4:
            wishes[names.PLACEMENT] = "one-cluster"
        if rng.random() < 0.2:
            wishes[names.SAME_CLUSTER_AS] = world.OTHER
        self.world = world.World(
            replicas=rng.randint(1, 4),
            size=size,
            quotas=quotas,
            quota=rng.randint(1, 6) * size,
            options=options,
            annotations=wishes,
        )
        self._other_moves()
        self.strangers = strangers
        self.image = self.cpu = 1

    def play(self, *, steps: int = 70) -> world.World:
        """Let things happen, then heal everything, and look at what is there at rest."""
        for _ in range(steps):
            self._step()
        self._heal()
        self.world.settle()
        self.world.judge.rest(self.world)
        here = self.world
        assert here.ready() == list(range(here.manager.replicas)), here.log[-12:]
        return here

    def _step(self) -> None:
        rng = self.rng
        for _ in range(rng.randint(1, 6)):
            rng.choice(self.world.actors())()
            self.world.check()
        if rng.random() < 0.5:
            self.world.look()
        happenings: list[Callable[[], object]] = [
            *[self._pass] * 6,
            *[self._killed] * 3,
            *[self.world.tick] * 3,
        ]
        happenings += [rng.choice(self._accidents())]
        if self.strangers:
            happenings += [rng.choice(self._strangers())]
        rng.choice(happenings)()
        self.world.check()

    def _pass(self) -> None:
        self.world.between = self._between
        self.world.run(self.rng)
        self.world.between = _nothing

    def _between(self) -> None:
        """What may happen between the last look and a write."""
        if self.rng.random() < 0.2:
            self.rng.choice(self.world.actors())()

    def _killed(self) -> None:
        self.world.dies_after = self.rng.choice([0, 1, 1, 2, 3])
        self._pass()
        if self.world.dies_after is not None:
            self.world.restart()

    # What happens ---------------------------------------------------------------------------

    def _accidents(self) -> list[Callable[[], object]]:
        own, rng = self.world.manager, self.rng
        return [
            self._cut,
            self._mend,
            self._mend,
            lambda: self.world.tick(rng.choice([5, 15, 30])),
            lambda: own.edit(replicas=rng.randint(0, 4)),
            self._new_image,
            self._new_requests,
            self._recreate,
            self._drain,
            self._quota,
            lambda: self._evict(own),
            lambda: self._evict(self._worker().cluster),
            self._switch,
            self._wish,
            self._other_moves,
            *[self.world.arrive_late] * 3,
        ]

    def _worker(self) -> world.Link:
        return self.rng.choice(list(self.world.links.values()))

    def _cut(self) -> None:
        self.world.cut(self.rng.choice(list(self.world.links)))

    def _mend(self) -> None:
        self.world.mend(self.rng.choice(list(self.world.links)))

    def _new_image(self) -> None:
        self.image = self.image % 4 + 1
        self.world.manager.edit(image=self.image)

    def _new_requests(self) -> None:
        self.cpu = 3 - self.cpu
        self.world.manager.edit(cpu=self.cpu)

    def _recreate(self) -> None:
        own = self.world.manager
        if own.live is not None:
            own.delete(names.LWS_KIND, manager.SET)
        else:
            own.create(self.rng.randint(1, 3))

    def _drain(self) -> None:
        link = self._worker()
        link.configured = not link.configured

    def _wish(self) -> None:
        """Change where the set wants its groups to be; the process sees that at once."""
        key, value = self.rng.choice(
            [(names.PLACEMENT, "one-cluster"), (names.SAME_CLUSTER_AS, world.OTHER)]
        )
        self.world.manager.annotate(key, self.rng.choice([value, None]))
        self.world.look()

    def _other_moves(self) -> None:
        """Have the groups of the other set be anywhere; now and then there is no such set."""
        links = list(self.world.links)
        where = frozenset(self.rng.sample(links, self.rng.randint(0, len(links))))
        self.world.other = self.rng.choice([where, where, where, None])

    def _quota(self) -> None:
        cluster = self._worker().cluster
        new = self.rng.randint(0, 6)
        self.world.judge.shrinks(cluster.name, cluster.quota)
        cluster.quota = new

    def _evict(self, cluster: queue.Queue) -> None:
        reserved = [
            one
            for one in cluster.of_kind("Workload").values()
            if true(one, "QuotaReserved") and not true(one, "Evicted")
        ]
        if reserved:
            one = self.rng.choice(reserved)
            cluster.evict(one, "Preempted", "Preempted to make room")

    def _switch(self) -> None:
        everywhere = [self.world.manager, *(one.cluster for one in self.world.links.values())]
        cluster = self.rng.choice(everywhere)
        workloads = list(cluster.of_kind("Workload").values())
        if workloads:
            one = self.rng.choice(workloads)
            one["spec"]["active"] = not one["spec"].get("active", True)
            cluster.touch(one)
            self.world.judge.switched_off = True

    # Strangers ------------------------------------------------------------------------------

    def _strangers(self) -> list[Callable[[], object]]:
        return [
            lambda: self._touch(names.LWS_KIND, self._delete),
            lambda: self._touch("Workload", self._delete),
            lambda: self._touch("Lease", self._delete),
            lambda: self._touch("Pod", self._delete),
            lambda: self._touch(names.LWS_KIND, self._edit),
            lambda: self._touch(names.LWS_KIND, self._unmark),
            lambda: self._touch("Workload", self._unmark),
        ]

    def _touch(self, kind: str, how: Callable[[world.Link, Object], None]) -> None:
        link = self._worker()
        found = list(link.cluster.of_kind(kind).values())
        if found:
            self.world.judge.touched.add(link.cluster.name)
            how(link, self.rng.choice(found))
            # That an object has lost its marks is seen by reading it again.
            self.world.look_at(link)

    def _delete(self, link: world.Link, one: Object) -> None:
        link.cluster.delete(one["kind"], one["metadata"]["name"], graceful=True)

    def _edit(self, link: world.Link, one: Object) -> None:
        one["spec"]["replicas"] = self.rng.choice([0, 2])
        one["metadata"]["generation"] += 1
        link.cluster.touch(one)

    def _unmark(self, link: world.Link, one: Object) -> None:
        one["metadata"]["annotations"].pop(names.MANAGER, None)
        link.cluster.touch(one)

    # The end --------------------------------------------------------------------------------

    def _heal(self) -> None:
        """Give everything that is needed, and have people clean up what they have made."""
        here = self.world
        if here.manager.live is None:
            here.manager.create(2)
        here.manager.quota = PLENTY
        here.other = frozenset(here.links)
        for name, link in here.links.items():
            here.mend(name)
            link.configured = True
            here.judge.shrinks(name, link.cluster.quota)
            link.cluster.quota = PLENTY
            self._tidy(link)
        for one in here.manager.of_kind("Workload").values():
            one["spec"]["active"] = True
            here.manager.touch(one)

    def _tidy(self, link: world.Link) -> None:
        for kind in (names.LWS_KIND, "Workload"):
            for one in list(link.cluster.of_kind(kind).values()):
                if names.MANAGER not in one["metadata"]["annotations"]:
                    self._delete(link, one)
        self.world.look_at(link)


def _nothing() -> None:
    pass
