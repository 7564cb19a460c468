//! What the create form holds, and sending it.

use crate::json;
use crate::map::Map;
use leptos::prelude::*;
use leptos::task::spawn_local;
use model::ErrorCode;
use model::container::CreateRequest;
use model::id::TaskId;
use model::task::Task;
use wasm_bindgen::JsCast as _;

use super::Start;
use crate::api::{ApiError, containers as functions, tasks};
use crate::bundle::use_go;
use crate::components::browser;
use crate::format::{Locale, use_locale};
use crate::forms::create::{FIELDS, TICKS, initial, parse};
use crate::forms::limits::KEYS;
use crate::forms::presets;
use crate::forms::problems::{Problems, words};
use crate::live::{Badge, Live, use_live};

/// How long the stream has to tell of a new container before it is asked for.
const LOOK_MS: u64 = 1500;

/// What the server says about the NIC as a whole.
pub const NIC: &str = "nic";

/// What was sent last from this tab: when its making fails, the next try begins with it.
#[derive(Clone, Copy, Debug)]
pub struct Draft(StoredValue<Map<&'static str, String>>);

impl Draft {
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it makes a signal, so it belongs to an owner")]
    pub fn new() -> Self {
        Self(StoredValue::default())
    }
}

/// The draft of this tab.
fn use_draft() -> Draft {
    use_context::<Draft>().unwrap_or_else(Draft::new)
}

/// The fields as signals, and where the request stands.
#[derive(Clone, Copy)]
pub struct Form {
    typed: StoredValue<Map<&'static str, RwSignal<String>>>,
    ticked: StoredValue<Map<&'static str, RwSignal<bool>>>,
    /// Whether problems are shown: from the first press on.
    is_checked: RwSignal<bool>,
    pub refused: RwSignal<Option<ApiError>>,
    /// Whether something was typed that the server has not taken yet.
    pub is_typed: StoredValue<bool>,
    /// The task that makes it.
    pub task: RwSignal<Option<TaskId>>,
    /// Whether the further settings are open: also when one of them is wrong.
    pub is_unfolded: RwSignal<bool>,
    is_sending: RwSignal<bool>,
    /// Names this try: the same form sent again after a lost answer is one request, after an answer it is another.
    attempt: StoredValue<i64>,
    /// The name of what is being made: its page is shown as soon as it stands in the list.
    made: RwSignal<Option<String>>,
    draft: Draft,
    live: Live,
    locale: Locale,
}

impl Form {
    pub fn new(start: &Start, template: Option<String>, is_again: bool) -> Self {
        let preset = presets::PRESETS.iter().find(|preset| preset.key == "small" && preset.fits(Some(&start.host)));
        let sizes: Map<&str, String> = presets::values(preset.map_or(presets::UNLIMITED, |preset| preset.key), start.host.disk_limits)
            .into_iter()
            .collect();
        let draft = use_draft();
        let sent = if is_again { draft.0.get_value() } else { Map::new() };
        let first = |field: &'static str| match field {
            field if sent.contains_key(field) => sent.get(field).cloned().unwrap_or_default(),
            "template" => template.clone().unwrap_or_default(),
            "name" => start.name.clone(),
            key => sizes.get(key).cloned().unwrap_or_else(|| initial(key)),
        };
        let (live, go) = (use_live(), use_go());
        let made = RwSignal::new(None::<String>);
        leave_when_there(live, made, move |path| go(&path));
        Self {
            typed: StoredValue::new(FIELDS.into_iter().chain(KEYS).map(|field| (field, RwSignal::new(first(field)))).collect()),
            ticked: StoredValue::new(
                TICKS
                    .into_iter()
                    .map(|field| (field, RwSignal::new(sent.get(field).is_some_and(|word| !word.is_empty()))))
                    .collect(),
            ),
            is_checked: RwSignal::new(false),
            refused: RwSignal::new(None),
            is_typed: StoredValue::new(false),
            task: RwSignal::new(None),
            is_unfolded: RwSignal::new(false),
            is_sending: RwSignal::new(false),
            attempt: StoredValue::new(0),
            made,
            draft,
            live,
            locale: use_locale(),
        }
    }

    pub fn field(self, key: &str) -> RwSignal<String> {
        self.typed.with_value(|typed| typed.get(key).copied()).unwrap_or_default()
    }

    pub fn tick(self, key: &str) -> RwSignal<bool> {
        self.ticked.with_value(|ticked| ticked.get(key).copied()).unwrap_or_default()
    }

    /// What stands in a field now, tracked.
    pub fn get(self, key: &str) -> String {
        match self.ticked.with_value(|ticked| ticked.get(key).copied()) {
            Some(ticked) => {
                if ticked.get() {
                    "yes".to_owned()
                } else {
                    String::new()
                }
            }
            None => self.field(key).get(),
        }
    }

    /// The request that the fields stand for.
    pub fn request(self) -> Result<CreateRequest, Problems> {
        parse(&|key: &str| self.get(key), true)
    }

    pub fn is_busy(self) -> bool {
        self.is_sending.get() || self.task.get().and_then(|id| self.live.task(id)).is_some_and(|task| !task.state.is_over())
    }

    /// Whether something is wrong that the person was told of.
    pub fn has_problems(self) -> bool {
        self.is_checked.get() && self.request().is_err()
    }

    /// What is wrong with a field, by the rules or by the server.
    pub fn error_of(self, field: &'static str) -> Signal<Option<String>> {
        Signal::derive(move || {
            let ruled = self
                .is_checked
                .get()
                .then(|| self.request().err())
                .flatten()
                .and_then(|problems| problems.of(field).map(str::to_owned));
            let said = || {
                self.refused
                    .get()
                    .map(|error| error.body())
                    .filter(|body| body.field.as_deref() == Some(field))
                    .map(|body| body.message)
            };
            ruled.map(|message| words(self.locale, field, &message)).or_else(said)
        })
    }

    /// The refusal, unless it stands beside its field.
    pub fn whole_refusal(self) -> Option<ApiError> {
        let has_place = |field: &str| FIELDS.contains(&field) || KEYS.contains(&field) || field == NIC;
        self.refused
            .get()
            .filter(|error| !matches!(error.code(), ErrorCode::Invalid | ErrorCode::Conflict) || !error.body().field.is_some_and(|field| has_place(&field)))
    }

    /// Brings the first wrong field into sight and gives it the focus.
    fn point_out(self, mut fields: impl Iterator<Item = String>) {
        if fields.any(|field| !matches!(field.as_str(), "template" | "name")) {
            self.is_unfolded.try_set(true);
        }
        // The marks are drawn first. Without a window there is nothing to point at.
        drop(request_animation_frame(|| {
            let wrong = document().query_selector(".create [aria-invalid='true']").ok().flatten();
            if let Some(wrong) = wrong.and_then(|element| element.dyn_into::<web_sys::HtmlElement>().ok()) {
                // Only an element that is not shown refuses the focus.
                drop(wrong.focus());
            }
        }));
    }

    /// Sends the request; the page of the container follows as soon as there is one, with the task on it.
    pub fn send(self, start: bool) {
        self.refused.set(None);
        self.is_checked.set(true);
        let mut request = match untrack(|| self.request()) {
            Ok(request) => request,
            Err(problems) => return self.point_out(problems.fields().map(str::to_owned)),
        };
        if untrack(|| self.is_busy()) {
            return;
        }
        request.start = start;
        self.is_sending.set(true);
        self.made.set(None);
        let fields = FIELDS.into_iter().chain(KEYS).chain(TICKS);
        self.draft.0.set_value(untrack(|| fields.map(|field| (field, self.get(field))).collect()));
        let name = request.spec.name.to_string();
        let key = self.key_of(&request);
        spawn_local(async move {
            let answer = functions::create(request, Some(key)).await;
            self.is_sending.try_set(false);
            if !matches!(answer, Err(ApiError::Unreachable(_))) {
                self.attempt.try_set_value(0);
            }
            match answer {
                Ok(task) => self.follow(task, name),
                Err(error) => {
                    let field = error.body().field;
                    self.refused.try_set(Some(error));
                    self.point_out(field.into_iter());
                }
            }
        });
    }

    fn key_of(self, request: &CreateRequest) -> String {
        if self.attempt.get_value() == 0 {
            self.attempt.set_value(self.live.now_ms.get_untracked());
        }
        let text = serde_json::to_value(request).map(|request| json::write(&request)).unwrap_or_default();
        format!("{:x}-{}", fold(&text), self.attempt.get_value())
    }

    /// Asks the task to end; what it made is taken back.
    pub fn cancel(self) {
        let Some(id) = self.task.get_untracked() else { return };
        spawn_local(async move {
            match tasks::cancel(id).await {
                Ok(task) => self.live.seed_task(task),
                Err(error) => {
                    self.refused.try_set(Some(error));
                }
            }
        });
    }

    fn follow(self, task: Task, name: String) {
        let id = task.id;
        self.task.try_set(Some(id));
        self.is_typed.try_set_value(false);
        self.live.seed_task(task);
        // Whoever left the page meanwhile is not called away from where they are: the signal is gone with it.
        self.made.try_set(Some(name.clone()));
        look_for(self.live, name, id);
    }
}

/// Goes to the page of a container once the list of this tab has it.
fn leave_when_there(live: Live, made: RwSignal<Option<String>>, leave: impl Fn(String) + 'static) {
    Effect::new(move || {
        if let Some(name) = made.get().filter(|name| live.row_named(name).is_some()) {
            leave(format!("/containers/{name}"));
        }
    });
}

/// The stream tells of the new container; without one it is asked for, until it is there or its making has failed.
fn look_for(live: Live, name: String, task: TaskId) {
    let is_over = move || {
        let known = live
            .tasks
            .try_with_untracked(|tasks| tasks.get(&task).is_some_and(|task| task.with_untracked(|task| task.state.is_over())));
        known.unwrap_or(true)
    };
    browser::after(LOOK_MS, move || {
        if live.badge.try_get_untracked().is_none_or(Badge::is_live) && !is_over() {
            return;
        }
        spawn_local(async move {
            match functions::show(name.clone()).await {
                Ok(opened) => live.seed_container(opened.detail.summary),
                Err(_) if is_over() => {}
                Err(_) => look_for(live, name, task),
            }
        });
    });
}

/// A short mark of a text (FNV-1a).
fn fold(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |mark, byte| (mark ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
