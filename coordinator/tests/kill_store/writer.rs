//! The process that is killed: three tasks that write at once, so that commits are grouped.

use std::io::Write as _;
use std::path::Path;

use coordinator::store::Store;
use model::build::Build;
use model::id::{BuildId, Generation};

use crate::dice::Dice;
use crate::records::{self, KEPT, ROOTIMGDIR};

/// Beyond so many builds only their states change, so that the verifier has not too much to read.
const BUILDS: u64 = 200;

/// Writes until somebody ends it.
pub(crate) fn write(folder: &Path) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let (store, _failed) = Store::open(&records::store(folder)).unwrap();
        tokio::join!(builds(&store), generations(&store), tokens(&store));
    });
}

/// Past the test harness, which would keep it back.
fn acknowledged(what: &str) {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(format!("ack {what}\n").as_bytes()).and_then(|()| stdout.flush()).unwrap();
}

/// New builds, a few with one commit, and new states of even ones.
async fn builds(store: &Store) {
    let mut dice = Dice::new(Dice::seed());
    loop {
        let next = store.next_build_id().unwrap();
        if next.get() <= 2 || next.get() < BUILDS && dice.below(4) == 0 {
            let ids = std::iter::successors(Some(next), |id| Some(id.next())).take(2 + dice.below(4) as usize);
            let new: Vec<Build> = ids.map(|id| records::build(id, 0)).collect();
            store.add_builds(&new, &[], &format!("request-{next}")).await.unwrap();
            new.iter().for_each(|build| acknowledged(&format!("build {} 0", build.id)));
            continue;
        }
        let even = BuildId::new(dice.below(next.get()) / 2 * 2);
        let Some(known) = even.and_then(|id| store.build(id).unwrap()) else { continue };
        let new = records::build(known.id, known.priority + 1);
        store.save_build(&new).await.unwrap();
        acknowledged(&format!("build {} {}", new.id, new.priority));
    }
}

/// Generations, each with the odd build that it came from, and the end of the oldest.
async fn generations(store: &Store) {
    let mut dice = Dice::new(Dice::seed());
    loop {
        let next = store.next_build_id().unwrap().get();
        let odd = BuildId::new(dice.below(next) / 2 * 2 + 1);
        let Some(known) = odd.and_then(|id| store.build(id).unwrap()) else {
            tokio::task::yield_now().await;
            continue;
        };
        let kept = store.generations(Path::new(ROOTIMGDIR)).unwrap();
        let number = kept.last().map_or(Generation::FIRST, |newest| newest.number.next());
        let pruned: Vec<Generation> = number.get().checked_sub(KEPT).and_then(Generation::new).into_iter().collect();
        let build = Build { generation: Some(number), ..records::build(known.id, known.priority + 1) };
        store.save_generations(&build, &[records::generation(number, build.id)], &pruned).await.unwrap();
        acknowledged(&format!("build {} {}", build.id, build.priority));
        acknowledged(&format!("generation {number}"));
    }
}

/// Tokens, each made and then redeemed.
async fn tokens(store: &Store) {
    let known = |number: u64| store.token(&records::joining(number).0).unwrap();
    let is_used = |number: u64| known(number).is_some_and(|token| token.used_by.is_some());
    let mut number = (1..).find(|number| !is_used(*number)).unwrap();
    loop {
        let (secret, token, agent) = records::joining(number);
        if known(number).is_none() {
            store.add_token(&secret, &token).await.unwrap();
        }
        store.redeem(&secret, &token, &agent).await.unwrap();
        acknowledged(&format!("token {number}"));
        number += 1;
    }
}
