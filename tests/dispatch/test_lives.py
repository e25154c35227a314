"""Random lives on three clusters in memory: no invariant is ever broken, and all ends well.

The process dies after any of its writes, links are cut and mended, quota comes and goes, the set is
scaled, updated, deleted and made again, clusters are drained, Workloads are evicted on both sides,
and strangers touch what is not theirs. After every single thing the judge looks at INV-1 to INV-6
and INV-9, and at rest at INV-7.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kit.examples import examples
from tests.kit.memory.multikueue import lives


@pytest.mark.row("MK-42")
@examples(4000, few=200)
@given(seed=st.integers(0, 2**32))
def test_no_invariant_breaks_in_any_life_and_all_groups_run_in_the_end(seed: int) -> None:
    lives.Life(seed).play()


@pytest.mark.row("MK-42", "MK-55")
@examples(1500, few=100)
@given(seed=st.integers(0, 2**32))
def test_strangers_in_workers_make_no_group_run_twice(seed: int) -> None:
    lives.Life(seed, strangers=True).play()
