"""Kueue's admission, simulated: who gets quota, in which flavor and where, and who waits.

Pure, and of values alone. The rules are those of Kueue 0.19 (``pkg/cache/scheduler`` and
``pkg/scheduler``), without fair sharing. ``scheduler`` is the place to start reading: cycles over
the heads of all queues, as Kueue has them. ``flavors`` assigns flavors, ``hierarchy`` reckons quota
in cohorts, ``preemption`` finds who has to make room, ``topology`` and what it uses finds places,
``turns`` is the order of a queue.

Two ask it: ``kubectl lws whatif``, and the stand-in for Kueue that tests use; ``explain`` and
``dashboard`` take the arithmetic of quota from it, and ``explain`` the order and who may go.
Nothing that carries out admissions may, so that the stand-in tests that with eyes of its own.
"""
