//! The faults, as a table.

use std::time::Duration;

use testbed::Quality;

use super::{condition::Condition, way::Way};

/// What happens to a connected cluster under load: the way it is connected, what the network is like,
/// and how the link is cut again and again.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// Its name in the report.
    pub name: &'static str,
    pub(super) way: Way,
    pub(super) condition: Condition,
    pub(super) cut: Cut,
    /// From the end of a cut to the next.
    pub(super) every: Duration,
    /// How long a request may take that is sent after a cut, beside the loads.
    pub(super) allowed: Duration,
}

/// How the link is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// It is not.
    Never,
    /// The gateway forgets all connections: their packets vanish from then on.
    Flush,
    /// All packets vanish for so long.
    Silence(Duration),
    /// All packets are answered with a reset for so long.
    Reset,
    /// Clocks jump, and a reset makes both ends use them.
    Jump,
}

/// Long enough for a packet of each direction.
pub(super) const RESETTING: Duration = Duration::from_millis(200);

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const fn milliseconds(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Until silence is noticed, and a moment.
const UNNOTICED: Duration = seconds(11);

const PLAIN: Fault = Fault {
    name: "",
    way: Way::Direct,
    condition: Condition::Sound,
    cut: Cut::Reset,
    every: seconds(4),
    allowed: seconds(5),
};

/// All of them. Those of one way stand together: the agent is started again in between.
pub const FAULTS: [Fault; 15] = [
    Fault {
        name: "sound",
        cut: Cut::Never,
        ..PLAIN
    },
    Fault {
        name: "resets",
        every: seconds(3),
        ..PLAIN
    },
    Fault {
        name: "silence of 2 s",
        cut: Cut::Silence(seconds(2)),
        ..PLAIN
    },
    Fault {
        name: "NAT table flushed",
        cut: Cut::Flush,
        every: seconds(6),
        allowed: UNNOTICED,
        ..PLAIN
    },
    Fault {
        name: "NAT idle timeout of 3 s",
        condition: Condition::IdleTimeout(3),
        ..PLAIN
    },
    Fault {
        name: "20 % loss",
        condition: Condition::Loss(20),
        every: seconds(5),
        // A reset may be lost as well: to that end it is silence.
        allowed: UNNOTICED,
        ..PLAIN
    },
    Fault {
        name: "10 Mbit/s",
        condition: Condition::Bandwidth(10),
        ..PLAIN
    },
    Fault {
        name: "round trip of 150 ms",
        condition: Condition::Wire(Quality {
            delay: milliseconds(75),
            jitter: milliseconds(0),
            loss_percent: 0,
            seed: 1,
        }),
        ..PLAIN
    },
    Fault {
        name: "reordered packets",
        condition: Condition::Wire(Quality {
            delay: milliseconds(10),
            jitter: milliseconds(10),
            loss_percent: 1,
            seed: 2,
        }),
        ..PLAIN
    },
    Fault {
        name: "IPv6",
        way: Way::Ipv6,
        ..PLAIN
    },
    Fault {
        name: "squid with a password",
        way: Way::Squid,
        ..PLAIN
    },
    Fault {
        name: "tinyproxy with a password",
        way: Way::Tinyproxy,
        ..PLAIN
    },
    Fault {
        name: "haproxy, TLS passed on, 3 s",
        way: Way::PassThrough,
        // Longer than what it takes for an idle connection.
        cut: Cut::Silence(seconds(4)),
        every: seconds(5),
        ..PLAIN
    },
    Fault {
        name: "haproxy, TLS ended, 3 s",
        way: Way::Terminate,
        cut: Cut::Silence(seconds(4)),
        every: seconds(5),
        ..PLAIN
    },
    Fault {
        name: "clocks that jump",
        way: Way::Clock,
        cut: Cut::Jump,
        ..PLAIN
    },
];
