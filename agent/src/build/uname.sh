#!/bin/sh
# Stands in for the image's uname while the site's scripts run: a script that asks for the kernel means the
# image's, not the build node's. KERNEL and MACHINE are filled in by the agent.
s=Linux n=localhost r='@KERNEL@' v='#1' m='@MACHINE@' o=GNU/Linux
[ $# -gt 0 ] || set -- -s
out=
add() { out="$out${out:+ }$1"; }
for arg; do
    case "$arg" in
    -a | --all) add "$s"; add "$n"; add "$r"; add "$v"; add "$m"; add "$o" ;;
    --kernel-name) add "$s" ;;
    --nodename) add "$n" ;;
    --kernel-release) add "$r" ;;
    --kernel-version) add "$v" ;;
    --machine | --processor | --hardware-platform) add "$m" ;;
    --operating-system) add "$o" ;;
    -*)
        flags=${arg#-}
        # Always in this order, as the real one does.
        case "$flags" in *a*) flags=snrvmo ;; esac
        case "$flags" in *s*) add "$s" ;; esac
        case "$flags" in *n*) add "$n" ;; esac
        case "$flags" in *r*) add "$r" ;; esac
        case "$flags" in *v*) add "$v" ;; esac
        case "$flags" in *[mpi]*) add "$m" ;; esac
        case "$flags" in *o*) add "$o" ;; esac
        ;;
    *) echo "uname: extra operand '$arg'" >&2; exit 1 ;;
    esac
done
echo "$out"
