//! Weir's benchmarks. Figures are ratios against a peer, or against another build, taken in one run on one machine.
