"""LeaderWorkerSet semantics: from observed facts to a plan, without any input or output."""
