//! Usage, price, reserve-settle and windows as arithmetic. Pure: no clock, no I/O, no floats for money.
