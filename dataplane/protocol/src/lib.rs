//! AI wire formats: a neutral representation, one codec per dialect, framing, byte splicing. Pure.
