//! Tripline's dealings with the world.
