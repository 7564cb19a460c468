//! The graphs of one container or of the host: live or a stretch of history, chosen in the URL, so that a pasted link
//! shows a colleague the same.

use leptos::prelude::*;
use leptos::task::spawn_local;
use leptos_router::hooks::use_query_map;

use crate::api::events::{Curves, history};
use crate::api::fetched::Fetched;
use crate::components::chart::data::{ChartData, EventMark, LimitLine, Points, Unit};
use crate::components::chart::{Chart, Cursor};
use crate::components::page_frame::Loaded;
use crate::format::{Locale, use_locale};
use crate::i18n::Text;
use crate::i18n::charts as text;
use crate::live::metrics::Feed;
use crate::live::use_live;

/// What a graph draws: series by name with their labels.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    pub title: Text,
    pub unit: Unit,
    pub series: &'static [(&'static str, Text)],
}

/// The graphs that host and containers share.
pub const COMMON: &[Spec] = &[
    Spec {
        title: text::CPU,
        unit: Unit::Cores,
        series: &[("cpu.usage", text::USAGE)],
    },
    Spec {
        title: text::MEMORY,
        unit: Unit::Bytes,
        series: &[("memory.used", text::USAGE)],
    },
    Spec {
        title: text::NETWORK,
        unit: Unit::Rate,
        series: &[("net.rx", text::RECEIVED), ("net.tx", text::SENT)],
    },
    Spec {
        title: text::DISK_IO,
        unit: Unit::Rate,
        series: &[("io.read", text::READ), ("io.write", text::WRITTEN)],
    },
    Spec {
        title: text::PRESSURE,
        unit: Unit::Share,
        series: &[
            ("pressure.cpu.some", text::SOME_CPU),
            ("pressure.memory.some", text::SOME_MEMORY),
            ("pressure.io.some", text::SOME_IO),
        ],
    },
    Spec {
        title: text::PROCESSES,
        unit: Unit::Count,
        series: &[("pids.current", text::USAGE)],
    },
];

/// How much time the graphs show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Range {
    #[default]
    Live,
    Hour,
    Day,
    Month,
}

impl Range {
    const ALL: [Self; 4] = [Self::Live, Self::Hour, Self::Day, Self::Month];

    fn key(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Hour => "1h",
            Self::Day => "24h",
            Self::Month => "30d",
        }
    }

    fn label(self) -> Text {
        match self {
            Self::Live => text::RANGE_LIVE,
            Self::Hour => text::RANGE_HOUR,
            Self::Day => text::RANGE_DAY,
            Self::Month => text::RANGE_MONTH,
        }
    }

    fn span_ms(self) -> i64 {
        match self {
            Self::Live => 300_000,
            Self::Hour => 3_600_000,
            Self::Day => 86_400_000,
            Self::Month => 30 * 86_400_000,
        }
    }

    /// About 360 points, two pixels each.
    fn step_ms(self) -> i64 {
        match self {
            Self::Live => 1000,
            Self::Hour => 10_000,
            Self::Day => 240_000,
            Self::Month => 7_200_000,
        }
    }

    fn of_key(key: Option<&str>) -> Self {
        Self::ALL.into_iter().find(|range| key == Some(range.key())).unwrap_or_default()
    }
}

/// The range in the URL.
fn use_range() -> Memo<Range> {
    let query = use_query_map();
    Memo::new(move |_| query.with(|query| Range::of_key(query.get_str("range"))))
}

async fn fetch(subject: String, specs: &'static [Spec], range: Range) -> crate::api::ApiResult<Curves> {
    let names = specs.iter().flat_map(|spec| spec.series).map(|(name, _)| (*name).to_owned()).collect();
    let step = u64::try_from(range.step_ms()).ok();
    history(subject, names, range.span_ms(), step).await
}

/// All graphs of `subject` (a container's name, or `@host`), with limits drawn as lines.
#[component]
pub fn Graphs(
    #[prop(into)] subject: String,
    specs: &'static [Spec],
    /// Limit lines of the graph whose first series is named so.
    #[prop(into)]
    limits: Callback<(String,), Vec<LimitLine>>,
    /// Whether it does not run.
    #[prop(optional, into)]
    is_off: Signal<bool>,
) -> impl IntoView {
    let range = use_range();
    provide_context(Cursor(RwSignal::new(None)));
    let feed = use_live().feed(&subject);
    let name = subject.clone();
    let first = Fetched::new(move || name.clone(), move |name| fetch(name, specs, range.get_untracked()));
    let draw = move |curves: Curves| {
        let source = Source::new(subject.clone(), specs, range, feed.clone(), curves);
        specs.iter().map(|spec| source.graph(spec, limits, is_off)).collect_view().into_any()
    };
    view! {
        <RangePicker range=range/>
        <div class="graphs"><Loaded resource=first full=draw/></div>
    }
}

/// Links, so that the choice is in the URL and works without script.
#[component]
fn RangePicker(range: Memo<Range>) -> impl IntoView {
    let locale = use_locale();
    let link = move |choice: Range| {
        let current = move || (range.get() == choice).then_some("true");
        view! { <a href=format!("?range={}", choice.key()) aria-current=current>{locale.t(choice.label())}</a> }
    };
    let hint = move || match range.get() {
        Range::Live => String::new(),
        range => format!(
            "{} {}",
            locale.t(text::BAND_HINT),
            locale.fill(text::RESOLUTION, &[("time", &locale.rough_duration(range.step_ms()))])
        ),
    };
    view! {
        <div class="range-picker">
            <nav class="segments" aria-label=locale.t(text::RANGE)>{Range::ALL.map(link).collect_view()}</nav>
            <span class="muted">{hint}</span>
        </div>
    }
}

/// Where the values come from: the feed while live, else what was fetched.
#[derive(Clone)]
struct Source {
    subject: String,
    range: Memo<Range>,
    feed: Feed,
    /// With the range that they were fetched for.
    curves: RwSignal<(Range, Curves)>,
}

impl Source {
    fn new(subject: String, specs: &'static [Spec], range: Memo<Range>, feed: Feed, curves: Curves) -> Self {
        let first = range.get_untracked();
        if first == Range::Live {
            feed.update(|feed| feed.seed(&curves));
        }
        let source = Self {
            subject,
            range,
            feed,
            curves: RwSignal::new((first, curves)),
        };
        source.follow(specs);
        source
    }

    /// Fetches anew when another range is chosen, when a coarse point is complete, and when the stream lost something.
    fn follow(&self, specs: &'static [Spec]) {
        let live = use_live();
        let (range, curves, feed, subject) = (self.range, self.curves, self.feed.clone(), self.subject.clone());
        let due = Memo::new(move |_| {
            let range = range.get();
            let point = if range == Range::Live {
                0
            } else {
                live.now_ms.get() / range.step_ms().max(10_000)
            };
            (range, point, live.resyncs.get())
        });
        Effect::new(move |before: Option<(Range, i64, u32)>| {
            let now = due.get();
            if before.is_some_and(|before| before != now) {
                let (subject, feed) = (subject.clone(), feed.clone());
                spawn_local(async move {
                    let Ok(fetched) = fetch(subject, specs, now.0).await else { return };
                    if now.0 == Range::Live {
                        feed.update(|feed| feed.seed(&fetched));
                    }
                    curves.try_set((now.0, fetched));
                });
            }
            now
        });
    }

    fn graph(&self, spec: &'static Spec, limits: Callback<(String,), Vec<LimitLine>>, is_off: Signal<bool>) -> AnyView {
        let locale = use_locale();
        let (source, live) = (self.clone(), use_live());
        let data = Memo::new(move |_| {
            let mut data = if source.range.get() == Range::Live {
                source.live_data(spec)
            } else {
                source.past_data(spec)
            };
            if let Some((name, _)) = spec.series.first() {
                data.limits = limits.run(((*name).to_owned(),));
            }
            data.is_off = is_off.get();
            let marks = live.marks.get().into_iter().filter(|mark| mark.container == source.subject);
            data.marks = marks.map(|mark| event_mark(locale, &mark)).collect();
            data
        });
        let labels = spec.series.iter().map(|(_, label)| locale.t(*label).to_owned()).collect();
        view! { <Chart title=locale.t(spec.title) unit=spec.unit labels=labels data=data/> }.into_any()
    }

    fn live_data(&self, spec: &Spec) -> ChartData {
        self.feed.with(|feed| {
            let span_ms = Range::Live.span_ms();
            let to_ms = feed.times.back().copied().unwrap_or(0);
            let skip = feed.times.iter().take_while(|time| **time < to_ms - span_ms).count();
            let series = spec.series.iter().map(|(name, _)| {
                let values = feed.series.get(*name).map(|values| values.iter().skip(skip).copied().collect());
                Points {
                    avg: values.unwrap_or_default(),
                    max: Vec::new(),
                }
            });
            ChartData {
                times: feed.times.iter().skip(skip).copied().collect(),
                from_ms: to_ms - span_ms,
                to_ms,
                step_ms: 1000,
                series: series.collect(),
                ..ChartData::default()
            }
        })
    }

    fn past_data(&self, spec: &Spec) -> ChartData {
        self.curves.with(|(range, curves)| {
            let step_ms = i64::try_from(curves.step_ms).unwrap_or(1000).max(1);
            let count = curves.series.values().map(|curve| curve.avg.len()).max().unwrap_or(0);
            let times: Vec<i64> = (0..count).map(|at| curves.from.ms + i64::try_from(at).unwrap_or(0) * step_ms).collect();
            let to_ms = times.last().copied().unwrap_or(curves.from.ms + range.span_ms());
            let series = spec.series.iter().map(|(name, _)| {
                let curve = curves.series.get(*name).cloned().unwrap_or_default();
                Points {
                    avg: curve.avg,
                    max: curve.max,
                }
            });
            ChartData {
                times,
                from_ms: to_ms - range.span_ms(),
                to_ms,
                step_ms,
                series: series.collect(),
                ..ChartData::default()
            }
        })
    }
}

fn event_mark(locale: Locale, mark: &crate::live::Mark) -> EventMark {
    let word = match mark.kind.as_str() {
        "start" => text::MARK_START,
        "stop" => text::MARK_STOP,
        "oom" => text::MARK_OOM,
        "reboot" => text::MARK_REBOOT,
        "limits" => text::MARK_LIMITS,
        "freeze" => text::MARK_FREEZE,
        "unfreeze" => text::MARK_UNFREEZE,
        _ => text::MARK_EXIT,
    };
    EventMark {
        at_ms: mark.at_ms,
        label: locale.t(word).to_owned(),
    }
}
