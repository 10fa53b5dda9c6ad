//! sqrt, ln, exp, log and power, to the digits that Postgres chooses.
