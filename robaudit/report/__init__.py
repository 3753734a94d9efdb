"""From audit records to what people read: HTML, terminal. Needs no torch."""
