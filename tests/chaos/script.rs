//! What a build says: a postinstall script that writes numbered lines, and the same lines as a log should have them.

/// How many lines a build writes.
pub(crate) const LINES: u64 = 3_000;

/// The script. Each run of it has a word of its own, so that the lines of two attempts can't be taken for one's.
pub(crate) const SCRIPT: &str = r#"#!/usr/bin/perl
use strict;
my ($lines) = @ARGV[4];
open(my $random, '<', '/dev/urandom') or die;
read($random, my $bytes, 8);
my $word = unpack('H*', $bytes);
srand(unpack('L', $bytes));
$| = 1;
for my $n (1 .. $lines) {
    my $more = $n % 500 == 250 ? ' ' . 'x' x 40000
        : $n % 97 == 0 ? " \x01\xff\x7f\xc3\xa9\tend"
        : $n % 41 == 0 ? ' long' x 300
        : '';
    print "chaos $word $n/$lines$more\n";
    select(undef, undef, undef, rand(0.12)) if $n % 100 == 0;
}
"#;

/// The longest line that is kept in one piece, and what the next piece of a longer one begins with.
const PIECE: usize = 16 << 10;
const GOES_ON: &str = "… ";

/// Line `n` as it stands in a log, in as many pieces as it takes.
pub(crate) fn expected(word: &str, n: u64) -> Vec<String> {
    let more = match n {
        n if n % 500 == 250 => format!(" {}", "x".repeat(40_000)),
        n if n % 97 == 0 => " \\x01\\xff\\x7fé\tend".to_owned(),
        n if n % 41 == 0 => " long".repeat(300),
        _ => String::new(),
    };
    let whole = format!("chaos {word} {n}/{LINES}{more}");
    if whole.len() <= PIECE {
        return vec![whole];
    }
    let pieces = whole.as_bytes().chunks(PIECE).map(|piece| String::from_utf8_lossy(piece).into_owned());
    pieces.enumerate().map(|(at, piece)| if at == 0 { piece } else { format!("{GOES_ON}{piece}") }).collect()
}

/// The word and number of a line, if it is one of ours and whole up to there.
pub(crate) fn numbered(line: &str) -> Option<(&str, u64)> {
    let (word, rest) = line.strip_prefix("chaos ")?.split_once(' ')?;
    let (number, _) = rest.split_once('/')?;
    Some((word, number.parse().ok()?))
}
