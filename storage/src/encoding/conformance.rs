//! One suite for every encoding.
