//! Deleted containers, until they expire: restore (under another name where theirs was taken), delete one now, empty all.

use leptos::prelude::*;
use leptos::task::spawn_local;
use model::storage::TrashEntry;
use model::task::Task;
use model::{ContainerId, Permission};

use crate::api::fetched::Fetched;
use crate::api::trash as functions;
use crate::components::button::{Button, Tone};
use crate::components::icon::Icon;
use crate::components::page_frame::{Empty, Loaded, PageFrame};
use crate::components::toast::{Toasts, use_toasts};
use crate::format::{Locale, use_locale};
use crate::i18n::Text;
use crate::i18n::frame::TRASH;
use crate::i18n::upkeep as text;
use crate::live::{Live, use_live};
use crate::page_context::use_may;

mod questions;
mod row;

use questions::{EmptyQuestion, PurgeQuestion, RestoreQuestion};

/// What the rows and questions of the page share.
#[derive(Clone, Copy, Debug)]
pub struct Bin {
    entries: RwSignal<Vec<TrashEntry>>,
    /// Whether the list was fetched: before that nothing is said about it.
    is_known: RwSignal<bool>,
    /// Entries that a task of this tab works on.
    busy: RwSignal<Vec<ContainerId>>,
    /// What the open question is about.
    asked: RwSignal<Option<TrashEntry>>,
    is_purging: RwSignal<bool>,
    is_renaming: RwSignal<bool>,
    is_emptying: RwSignal<bool>,
    /// What the server said of the other name.
    refused: RwSignal<Option<String>>,
    toasts: Toasts,
    locale: Locale,
    live: Live,
}

impl Bin {
    /// Brings one back; a name that cannot be had leads to the question for another, as often as need be.
    fn restore(self, entry: TrashEntry, as_name: Option<String>) {
        let name = as_name.clone().unwrap_or_else(|| entry.name.clone());
        self.hold(entry.id);
        spawn_local(async move {
            match functions::restore(entry.id, as_name.clone()).await {
                Ok(task) => self.follow(task, Some(entry.id), name, text::RESTORED),
                Err(error) => {
                    self.release(entry.id);
                    if error.body().field.as_deref() == Some("name") {
                        self.refused.try_set(as_name.map(|_| error.body().message));
                        self.asked.try_set(Some(entry));
                        self.is_renaming.try_set(true);
                    } else {
                        self.toasts.refused(&error);
                    }
                }
            }
        });
    }

    fn purge(self, entry: TrashEntry) {
        self.hold(entry.id);
        spawn_local(async move {
            match functions::purge(entry.id).await {
                Ok(task) => self.follow(task, Some(entry.id), entry.name, text::PURGED),
                Err(error) => {
                    self.release(entry.id);
                    self.toasts.refused(&error);
                }
            }
        });
    }

    fn empty(self) {
        let ids: Vec<_> = self.entries.with_untracked(|entries| entries.iter().map(|entry| entry.id).collect());
        self.busy.set(ids);
        spawn_local(async move {
            match functions::empty().await {
                Ok(task) => self.follow(task, None, String::new(), text::EMPTIED),
                Err(error) => {
                    self.busy.try_set(Vec::new());
                    self.toasts.refused(&error);
                }
            }
        });
    }

    /// Tells the outcome once the task is over; the list follows all such tasks by itself.
    fn follow(self, task: Task, id: Option<ContainerId>, name: String, done: Text) {
        let task_id = task.id;
        self.live.seed_task(task);
        let outcome = move |task: Task| {
            match &task.error {
                Some(error) if id.is_none() => self.toasts.failed(self.locale.fill(text::EMPTIED_PARTLY, &[("why", &error.message)])),
                Some(error) => self
                    .toasts
                    .failed(self.locale.fill(text::FAILED_ON, &[("name", &name), ("why", &error.message)])),
                None => self.toasts.done(self.locale.fill(done, &[("name", &name)])),
            }
            match id {
                Some(id) => self.release(id),
                None => drop(self.busy.try_set(Vec::new())),
            }
        };
        self.live.when_over(task_id, Callback::new(outcome));
    }

    fn hold(self, id: ContainerId) {
        self.busy.update(|busy| busy.push(id));
    }

    fn release(self, id: ContainerId) {
        self.busy.try_update(|busy| busy.retain(|held| *held != id));
    }
}

/// The page.
#[component]
pub fn TrashPage() -> impl IntoView {
    let (locale, live, toasts) = (use_locale(), use_live(), use_toasts());
    let outcomes = live.outcomes(|kind| kind.starts_with("trash.") || kind == "container.delete");
    let list = Fetched::new(move || outcomes.get(), |_| functions::list());
    let bin = Bin {
        entries: RwSignal::default(),
        is_known: RwSignal::new(false),
        busy: RwSignal::default(),
        asked: RwSignal::new(None),
        is_purging: RwSignal::new(false),
        is_renaming: RwSignal::new(false),
        is_emptying: RwSignal::new(false),
        refused: RwSignal::new(None),
        toasts,
        locale,
        live,
    };
    let count = move || bin.is_known.get().then(|| locale.count(text::IN_TRASH_N, bin.entries.with(Vec::len) as u64));
    let off = Signal::derive(move || bin.entries.with(Vec::is_empty).then(|| locale.t(text::ALREADY_EMPTY).to_owned()));
    let actions = move || {
        use_may(Permission::Containers).then(|| {
            let press = move |()| bin.is_emptying.set(true);
            view! { <Button label=locale.t(text::EMPTY_TRASH).to_owned() tone=Tone::Danger icon=Icon::Trash off=off on_press=press/> }
        })
    };
    view! {
        <PageFrame title=locale.t(TRASH).to_owned() state=ViewFn::from(move || count) actions=ViewFn::from(actions)>
            <Loaded resource=list full=move |entries| view! { <Listed bin=bin fetched=entries/> }.into_any()/>
            {use_may(Permission::Containers).then(|| view! { <PurgeQuestion bin=bin/><RestoreQuestion bin=bin/><EmptyQuestion bin=bin/> })}
        </PageFrame>
    }
}

#[component]
fn Listed(bin: Bin, fetched: Vec<TrashEntry>) -> impl IntoView {
    let locale = use_locale();
    bin.entries.set(fetched.clone());
    bin.is_known.set(true);
    if fetched.is_empty() {
        return view! { <Empty title=locale.t(text::TRASH_EMPTY) hint=locale.t(text::TRASH_EMPTY_HINT)/> }.into_any();
    }
    let head = move |label: Text, class: &'static str| view! { <th scope="col" class=class>{locale.t(label)}</th> };
    view! {
        <p class="muted">{locale.t(text::TRASH_HINT)}</p>
        <div class="scroll">
            <table class="table trash-table">
                <caption class="visually-hidden">{locale.t(TRASH)}</caption>
                <thead>
                    <tr>
                        {head(text::NAME, "cell-name")}
                        {head(text::SIZE, "cell-size number")}
                        {head(text::DELETED, "cell-deleted")}
                        {head(text::DELETED_BY, "cell-user")}
                        {head(text::EXPIRES, "cell-expires")}
                        <th scope="col" class="cell-actions"><span class="visually-hidden">{locale.t(text::ACTIONS)}</span></th>
                    </tr>
                </thead>
                <tbody>{fetched.into_iter().map(|entry| view! { <row::TrashRow bin=bin entry=entry/> }).collect_view()}</tbody>
            </table>
        </div>
    }
    .into_any()
}
