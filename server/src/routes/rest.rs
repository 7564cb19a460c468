//! `/api/v1`: each handler names the caller, makes one call to `control` and answers.

use model::access::Permission as P;
use utoipa_axum::routes;

use super::table::Table;

mod access;
mod containers;
mod host;
mod logs;
mod supply;
mod tasks;
mod trash;

/// Adds every documented route with its permission.
#[must_use]
pub fn add_to(table: Table) -> Table {
    let table = add_host(table)
        .add(Some(P::View), routes!(containers::list))
        .add(Some(P::Containers), routes!(containers::create))
        .add(Some(P::View), routes!(containers::show))
        .add(Some(P::Containers), routes!(containers::update))
        .add(Some(P::Containers), routes!(containers::delete))
        .add(Some(P::Containers), routes!(containers::start))
        .add(Some(P::Containers), routes!(containers::stop))
        .add(Some(P::Containers), routes!(containers::kill))
        .add(Some(P::Containers), routes!(containers::restart))
        .add(Some(P::Containers), routes!(containers::freeze))
        .add(Some(P::Containers), routes!(containers::unfreeze))
        .add(Some(P::Containers), routes!(containers::rename))
        .add(Some(P::View), routes!(containers::stats))
        .add(Some(P::View), routes!(containers::stats_of_all))
        .add(Some(P::View), routes!(containers::history))
        .add(Some(P::View), routes!(logs::logs))
        .add(Some(P::Terminal), routes!(containers::exec));
    let table = table
        .add(Some(P::View), routes!(supply::sources))
        .add(Some(P::Administer), routes!(supply::add_source))
        .add(Some(P::Administer), routes!(supply::remove_source))
        .add(Some(P::Templates), routes!(supply::refresh_all))
        .add(Some(P::Templates), routes!(supply::refresh))
        .add(Some(P::View), routes!(supply::templates))
        .add(Some(P::View), routes!(supply::template))
        .add(Some(P::Templates), routes!(supply::download))
        .add(Some(P::Templates), routes!(supply::import))
        .add(Some(P::Templates), routes!(supply::upload))
        .add(Some(P::Templates), routes!(supply::remove_template));
    let table = table
        .add(Some(P::View), routes!(tasks::list))
        .add(Some(P::View), routes!(tasks::show))
        .add(Some(P::View), routes!(tasks::log))
        .add(Some(P::Containers), routes!(tasks::cancel))
        .add(Some(P::View), routes!(trash::list))
        .add(Some(P::Containers), routes!(trash::restore))
        .add(Some(P::Containers), routes!(trash::purge))
        .add(Some(P::Containers), routes!(trash::empty));
    accounts(table)
}

fn accounts(table: Table) -> Table {
    table
        .add(None, routes!(access::set_up))
        .add(Some(P::Administer), routes!(access::setup_link))
        .add(None, routes!(access::sign_in))
        .add(Some(P::OwnAccount), routes!(access::sign_out))
        .add(Some(P::OwnAccount), routes!(access::who_am_i))
        .add(Some(P::OwnAccount), routes!(access::sessions))
        .add(Some(P::OwnAccount), routes!(access::end_session))
        .add(Some(P::Administer), routes!(access::users))
        .add(Some(P::Administer), routes!(access::add_user))
        .add(Some(P::Administer), routes!(access::change_user))
        .add(Some(P::Administer), routes!(access::remove_user))
        .add(Some(P::OwnAccount), routes!(access::set_password))
        .add(Some(P::Administer), routes!(access::tokens))
        .add(Some(P::Administer), routes!(access::create_token))
        .add(Some(P::Administer), routes!(access::revoke_token))
        .add(Some(P::Administer), routes!(access::audit))
}

fn add_host(table: Table) -> Table {
    table
        .add(Some(P::View), routes!(host::report))
        .add(Some(P::View), routes!(host::history))
        .add(Some(P::Administer), routes!(host::leftovers))
        .add(Some(P::Administer), routes!(host::repair))
        .add(Some(P::View), routes!(host::networks))
        .add(Some(P::Administer), routes!(host::add_network))
        .add(Some(P::Administer), routes!(host::remove_network))
}
