//! The binary: config, build, bind, run, drain, offline commands.
