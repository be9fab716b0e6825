//! The host's vDSO: where it is in this process, and where it goes in a stub.

use crate::layout;

/// A mapping to move: from, to, bytes.
pub type Move = (u64, u64, u64);

/// The vDSO in a stub.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Its mappings, lowest first.
    pub moves: Vec<Move>,
    /// The first byte of its code in a stub.
    pub ehdr: u64,
}

/// Plans the move, given `/proc/self/maps`. `None`: there is no vDSO.
pub fn plan(maps: &str) -> Option<Plan> {
    let mut pieces = Vec::new();
    let mut code = None;
    for line in maps.lines() {
        let Some((range, name)) = line.split_once(' ') else { continue };
        let is_code = name.ends_with("[vdso]");
        // Newer kernels have more than one data mapping: [vvar], [vvar_vclock].
        if !is_code && !name.contains("[vvar") {
            continue;
        }
        let (start, end) = range.split_once('-')?;
        let start = u64::from_str_radix(start, 16).ok()?;
        let end = u64::from_str_radix(end, 16).ok()?;
        pieces.push((start, end));
        if is_code {
            code = Some((start, end));
        }
    }
    let (code_start, code_end) = code?;
    let down = |address: u64| address.checked_sub(code_end)?.checked_add(layout::VDSO_END);
    let shift = |address: u64| {
        down(address).or_else(|| layout::VDSO_END.checked_sub(code_end.checked_sub(address)?))
    };
    let mut plan = Plan { moves: Vec::new(), ehdr: shift(code_start)? };
    for (start, end) in pieces {
        // Data far from the code could not be told apart from the rest of the guest.
        if start > code_end || code_end - start > 0x4_0000 {
            return None;
        }
        plan.moves.push((start, shift(start)?, end - start));
    }
    Some(plan)
}

#[cfg(test)]
mod tests {
    use super::plan;
    use crate::layout::VDSO_END;

    #[test]
    fn all_pieces_keep_their_distance() {
        let maps = "\
7fa102b84000-7fa102b88000 r--p 00000000 00:00 0                          [vvar]
7fa102b88000-7fa102b8a000 r--p 00000000 00:00 0                          [vvar_vclock]
7fa102b8a000-7fa102b8c000 r-xp 00000000 00:00 0                          [vdso]
7fff6009c000-7fff600bd000 rw-p 00000000 00:00 0                          [stack]
";
        let plan = plan(maps).expect("there is one");
        assert_eq!(plan.ehdr, VDSO_END - 0x2000);
        let to: Vec<u64> = plan.moves.iter().map(|one| one.1).collect();
        assert_eq!(to, [VDSO_END - 0x8000, VDSO_END - 0x4000, VDSO_END - 0x2000]);
    }

    #[test]
    fn none_without_code() {
        assert_eq!(plan("400000-401000 r-xp 00000000 00:00 0 /bin/true\n"), None);
    }
}
