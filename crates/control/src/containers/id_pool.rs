//! Which 65,536 user ids a new container gets: aligned blocks of the pool, in order while they are fresh, then the one
//! longest unused. Blocks that /etc/subuid, /etc/subgid or the user database claim are skipped.

use std::collections::BTreeMap;
use std::path::Path;

use model::Timestamp;
use model::engine::ID_COUNT;

use super::row::RangeRow;

/// Ids that somebody else on this host has: first and last.
pub type Claim = (u32, u32);

/// Chooses a block; `None` = the pool is used up.
#[must_use]
pub fn choose(pool: (u32, u32), known: &BTreeMap<u32, RangeRow>, claims: &[Claim]) -> Option<u32> {
    let fresh = blocks(pool).find(|base| !known.contains_key(base) && !is_claimed(*base, claims));
    fresh.or_else(|| longest_unused(pool, known, claims))
}

/// How many containers the pool has room for.
#[must_use]
pub fn capacity(pool: (u32, u32), claims: &[Claim]) -> usize {
    blocks(pool).filter(|base| !is_claimed(*base, claims)).count()
}

fn blocks((first, last): (u32, u32)) -> impl Iterator<Item = u32> {
    let start = u64::from(first).next_multiple_of(u64::from(ID_COUNT));
    let end = u64::from(last);
    let size = u64::from(ID_COUNT);
    (0..)
        .map(move |n| start + n * size)
        .take_while(move |base| base + size - 1 <= end)
        .map_while(|base| u32::try_from(base).ok())
}

fn longest_unused(pool: (u32, u32), known: &BTreeMap<u32, RangeRow>, claims: &[Claim]) -> Option<u32> {
    let inside = |base: u32| base >= pool.0 && u64::from(base) + u64::from(ID_COUNT) - 1 <= u64::from(pool.1) && base.is_multiple_of(ID_COUNT);
    let freed = known.iter().filter_map(|(base, row)| match row {
        RangeRow::FreedAt(at) if inside(*base) && !is_claimed(*base, claims) => Some((*at, *base)),
        _ => None,
    });
    freed.min_by_key(|(at, base): &(Timestamp, u32)| (at.ms, *base)).map(|(_, base)| base)
}

fn is_claimed(base: u32, claims: &[Claim]) -> bool {
    let last = base.saturating_add(ID_COUNT - 1);
    claims.iter().any(|(first, end)| *first <= last && *end >= base)
}

/// Reads what subuid, subgid, passwd and group below this folder (`/etc`) claim. A file that is absent claims nothing.
#[must_use]
pub fn read_claims(etc: &Path) -> Vec<Claim> {
    let read = |name: &str| std::fs::read_to_string(etc.join(name)).unwrap_or_default();
    let mut claims = parse_sub_ids(&read("subuid"));
    claims.extend(parse_sub_ids(&read("subgid")));
    claims.extend(parse_accounts(&read("passwd")));
    claims.extend(parse_accounts(&read("group")));
    claims
}

/// `name:first:count` (subuid(5)).
fn parse_sub_ids(text: &str) -> Vec<Claim> {
    let parse = |line: &str| {
        let mut fields = line.split(':').skip(1);
        let first: u32 = fields.next()?.trim().parse().ok()?;
        let count: u32 = fields.next()?.trim().parse().ok()?;
        (count > 0).then(|| (first, first.saturating_add(count - 1)))
    };
    text.lines().filter_map(parse).collect()
}

/// The third field of passwd(5) and group(5).
fn parse_accounts(text: &str) -> Vec<Claim> {
    let ids = text.lines().filter_map(|line| line.split(':').nth(2)?.trim().parse::<u32>().ok());
    ids.map(|id| (id, id)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const POOL: (u32, u32) = (524_288, 524_288 + 4 * 65_536 - 1);

    fn owner() -> RangeRow {
        RangeRow::Owner("6ba7b810-9dad-41d1-80b4-00c04fd430c8".parse().expect("a UUID"))
    }

    fn freed(ms: i64) -> RangeRow {
        RangeRow::FreedAt(Timestamp::from_ms(ms))
    }

    #[test]
    fn fresh_blocks_come_in_order() {
        let mut known = BTreeMap::new();
        for n in 0..4 {
            let base = choose(POOL, &known, &[]).expect("a block");
            assert_eq!(base, 524_288 + n * 65_536);
            known.insert(base, owner());
        }
        assert_eq!(choose(POOL, &known, &[]), None);
    }

    #[test]
    fn a_used_pool_gives_the_longest_unused() {
        let known = BTreeMap::from([(524_288, owner()), (589_824, freed(30)), (655_360, freed(10)), (720_896, freed(20))]);
        assert_eq!(choose(POOL, &known, &[]), Some(655_360));
    }

    #[test]
    fn a_fresh_block_goes_before_a_freed_one() {
        assert_eq!(choose(POOL, &BTreeMap::from([(524_288, freed(1))]), &[]), Some(589_824));
    }

    #[test]
    fn claims_of_others_are_skipped_even_when_they_only_touch() {
        let claims = parse_sub_ids("alice:524288:65536\nbad line\nbob:655359:1\nzero:1:0\n");
        assert_eq!(choose(POOL, &BTreeMap::new(), &claims), Some(655_360));
        assert_eq!(choose(POOL, &BTreeMap::new(), &parse_accounts("x:x:524290:1::/:/bin/sh\n")), Some(589_824));
    }

    #[test]
    fn a_pool_that_is_not_aligned_loses_its_ends() {
        assert_eq!(capacity((524_289, 524_288 + 3 * 65_536), &[]), 2);
        assert_eq!(choose((524_289, 600_000), &BTreeMap::new(), &[]), None);
        assert_eq!(capacity((524_288, 1_879_048_191), &[]), 28_664);
        assert_eq!(capacity((4_294_901_760, u32::MAX), &[]), 1);
    }
}
