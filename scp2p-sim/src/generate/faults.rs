//! Things that go wrong. Each run has some kinds of them and not others, because a kind that always
//! happens hides what happens without it.

use super::{HUBS, Made};
use crate::scenario::{Action, Span};

/// Faults per host and hour at the weight 1.
const FAULTS_PER_HOUR: u64 = 2;
const HOUR: u64 = 3_600_000_000;

/// Kinds of faults that happen to a host at a time.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Partition,
    OneWay,
    Clog,
    Suspend,
    ClockStep,
    DiskFull,
    Crash,
    Kill,
    Wipe,
    Roam,
    Edit,
}

const ALL: [Fault; 11] = [
    Fault::Partition,
    Fault::OneWay,
    Fault::Clog,
    Fault::Suspend,
    Fault::ClockStep,
    Fault::DiskFull,
    Fault::Crash,
    Fault::Kill,
    Fault::Wipe,
    Fault::Roam,
    Fault::Edit,
];

impl Made<'_, '_> {
    pub(super) fn faults(&mut self) {
        self.network_faults();
        self.lasting_faults();
        let weights = ALL.map(|fault| (fault, self.choices.one_of([0, 0, 1, 3])));
        let kinds: Vec<Fault> = weights
            .into_iter()
            .flat_map(|(fault, weight)| std::iter::repeat_n(fault, weight))
            .collect();
        let heal = self.scenario.heal.0;
        let most = (heal * FAULTS_PER_HOUR * u64::from(self.options.nodes)).div_ceil(HOUR);
        let count = self.choices.below(most + 2);
        for _ in 0..count {
            if let Some(fault) = self.choices.pick(&kinds).copied() {
                self.fault(fault);
            }
        }
        if self.choices.percent(20) {
            self.power_cut();
        }
    }

    fn network_faults(&mut self) {
        let network = &mut self.scenario.network;
        network.latency = self.choices.one_of([
            [Span::millis(10), Span::millis(80)],
            [Span::millis(1), Span::millis(2)],
            [Span::millis(50), Span::millis(400)],
        ]);
        network.jitter = Span::millis(self.choices.one_of([2, 0, 30]));
        network.loss_ppm = self.choices.one_of([0, 1_000, 20_000]);
        network.burst_ppm = self.choices.one_of([0, 0, 200]);
        network.duplicate_ppm = self.choices.one_of([0, 5_000]);
        network.reorder_ppm = self.choices.one_of([0, 10_000]);
    }

    /// What hosts have all the time until the healing.
    fn lasting_faults(&mut self) {
        let (disks, clocks) = (self.choices.percent(40), self.choices.percent(40));
        for host in &mut self.scenario.hosts {
            if disks && self.choices.percent(30) {
                host.disk.latency[1] = Span::millis(self.choices.one_of([10, 200]));
                host.disk.read_error_ppm = self.choices.one_of([0, 2_000]) as u32;
                host.disk.write_error_ppm = self.choices.one_of([0, 2_000]) as u32;
            }
            if clocks && self.choices.percent(50) {
                host.clock.offset_secs = self.choices.below(180) as i64 - 90;
                host.clock.drift_ppm = self.choices.below(400) as i32 - 200;
                host.clock.late = Span::millis(self.choices.one_of([0, 50, 3_000]));
                host.clock.spurious_ppm = self.choices.one_of([0, 10_000]);
            }
        }
    }

    fn fault(&mut self, fault: Fault) {
        let heal = self.scenario.heal.0;
        let number = self.choices.below(u64::from(self.options.nodes)) as u32;
        let host = format!("n{number}");
        let at = Span(self.choices.below(heal));
        let span = Span::millis(self.choices.one_of([5_000, 500, 40_000, 300_000]));
        let end = Span(at.0.saturating_add(span.0).min(heal));
        let span = Span(end.0 - at.0);
        match fault {
            Fault::Partition | Fault::OneWay => {
                let one_way = matches!(fault, Fault::OneWay);
                let from = self.some_hosts();
                self.event(at, &host, Action::Partition { from, one_way });
                self.event(end, &host, Action::Heal);
            }
            Fault::Clog => self.event(at, &host, Action::Clog { span }),
            Fault::Suspend => self.event(at, &host, Action::Suspend { span }),
            Fault::ClockStep => {
                let secs = self.choices.below(40) as i64 - 20;
                self.event(at, &host, Action::ClockStep { secs });
            }
            Fault::DiskFull => {
                let writes = self.choices.below(20) as u32;
                self.event(at, &host, Action::DiskFull { writes });
                self.event(end, &host, Action::DiskFree);
            }
            Fault::Crash => self.down(at, end, &host, Action::Crash, None),
            Fault::Kill => self.down(at, end, &host, Action::Kill, None),
            Fault::Wipe if number >= HUBS => {
                self.down(at, end, &host, Action::Crash, Some(Action::Wipe));
            }
            Fault::Roam if number >= HUBS => {
                let edge = self.scenario.hosts[number as usize].edge.clone();
                self.event(at, &host, Action::Roam { edge });
            }
            // Others start from the hubs by their keys and addresses.
            Fault::Wipe | Fault::Roam => {}
            Fault::Edit => {
                let share = format!("s{}", self.choices.below(4));
                self.event(at, &host, Action::Edit { share, file: 0 });
            }
        }
    }

    fn some_hosts(&mut self) -> Vec<String> {
        let count = self.choices.below(u64::from(self.options.nodes.min(6)));
        let nodes = u64::from(self.options.nodes);
        let numbers: Vec<u64> = (0..count).map(|_| self.choices.below(nodes)).collect();
        numbers.iter().map(|number| format!("n{number}")).collect()
    }

    fn down(&mut self, at: Span, end: Span, host: &str, how: Action, meanwhile: Option<Action>) {
        self.event(at, host, how);
        if let Some(action) = meanwhile {
            self.event(at, host, action);
        }
        self.event(end, host, Action::Start);
    }

    /// A third of the hosts lose power within a second.
    fn power_cut(&mut self) {
        let heal = self.scenario.heal.0;
        let at = self.choices.below(heal);
        for number in 0..self.options.nodes {
            if self.choices.percent(30) {
                let host = format!("n{number}");
                let cut = Span(at + self.choices.below(1_000_000));
                let back = Span((cut.0 + self.choices.below(120_000_000)).min(heal));
                self.down(cut.min(back), back, &host, Action::Crash, None);
            }
        }
    }
}
