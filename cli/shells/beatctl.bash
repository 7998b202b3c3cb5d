# Completion of beatctl in bash: eval "$(beatctl completion bash)"
_beatctl() {
    local kind="" line
    COMPREPLY=()
    while IFS= read -r line; do
        if [[ -z $kind ]]; then kind=$line; else COMPREPLY+=("$line"); fi
    done < <(_BEATCTL_COMPLETE="bash $COMP_TYPE" "$1" "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
    case $kind in # macOS has a bash without compopt: file names are offered there
        words) compopt +o default 2>/dev/null ;;
        dirs) compopt +o default -o dirnames 2>/dev/null ;;
    esac
}
complete -o default -o nosort -F _beatctl beatctl 2>/dev/null || complete -o default -F _beatctl beatctl
