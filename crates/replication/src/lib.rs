//! What to ship, how to apply it, epochs; rules without I/O and drivers over a stream of frames.
