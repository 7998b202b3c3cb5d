# Completion of beatctl in fish: beatctl completion fish | source
function __beatctl_complete
    set -l words (commandline -opc)
    set -l token (commandline -ct)
    set -lx _BEATCTL_COMPLETE fish
    set -l answer (command $words[1] $words[2..-1] "$token" 2>/dev/null)
    set -e _BEATCTL_COMPLETE
    if test (count $answer) -gt 1
        printf '%s\n' $answer[2..-1]
    end
    switch "$answer[1]"
        case files
            __fish_complete_path "$token"
        case dirs
            __fish_complete_directories "$token"
    end
end
complete -c beatctl -f -k -a '(__beatctl_complete)'
