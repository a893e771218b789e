# What `cmake --install` puts where: GNU's folders, and below share/txc what the
# tools find by name.

include(GNUInstallDirs)
# Libraries are found where they were when linking (MLIR's folder is not a default one).
set(CMAKE_INSTALL_RPATH_USE_LINK_PATH ON)

# txc_install_tool(name [MANUAL]): MANUAL: the tool describes itself
# (include/txc/Manual/Manual.h); its man page and completions are made by it
# right after it is linked, in the build's share/, which is laid out as the
# installed one.
function(txc_install_tool name)
  install(TARGETS ${name} RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}" OPTIONAL) # tx-opt may not be built
  if(NOT "MANUAL" IN_LIST ARGN)
    return()
  endif()
  set(share "${PROJECT_BINARY_DIR}/share")
  file(MAKE_DIRECTORY "${share}/man/man1" "${share}/bash-completion/completions"
    "${share}/zsh/site-functions" "${share}/fish/vendor_completions.d")
  add_custom_command(TARGET ${name} POST_BUILD
    COMMAND ${name} --print-man-page > "${share}/man/man1/${name}.1"
    COMMAND ${name} --print-completion=bash > "${share}/bash-completion/completions/${name}"
    COMMAND ${name} --print-completion=zsh > "${share}/zsh/site-functions/_${name}"
    COMMAND ${name} --print-completion=fish > "${share}/fish/vendor_completions.d/${name}.fish"
    BYPRODUCTS "${share}/man/man1/${name}.1" "${share}/bash-completion/completions/${name}"
      "${share}/zsh/site-functions/_${name}" "${share}/fish/vendor_completions.d/${name}.fish"
    VERBATIM)
  install(FILES "${share}/man/man1/${name}.1" DESTINATION "${CMAKE_INSTALL_MANDIR}/man1")
  install(FILES "${share}/bash-completion/completions/${name}"
    DESTINATION "${CMAKE_INSTALL_DATADIR}/bash-completion/completions")
  install(FILES "${share}/zsh/site-functions/_${name}" DESTINATION "${CMAKE_INSTALL_DATADIR}/zsh/site-functions")
  install(FILES "${share}/fish/vendor_completions.d/${name}.fish"
    DESTINATION "${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d")
endfunction()

install(DIRECTORY "${PROJECT_SOURCE_DIR}/configs" DESTINATION "${CMAKE_INSTALL_DATADIR}/txc")
install(DIRECTORY "${PROJECT_SOURCE_DIR}/docs/" DESTINATION "${CMAKE_INSTALL_DOCDIR}/docs")
install(FILES "${PROJECT_SOURCE_DIR}/README.md" "${PROJECT_SOURCE_DIR}/LICENSE" DESTINATION "${CMAKE_INSTALL_DOCDIR}")
# For those who write another runtime.
install(FILES "${PROJECT_SOURCE_DIR}/runtime/include/txc/step_abi.h" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/txc")

# bin/txc of the build tree finds configs by name as an installed one does.
file(MAKE_DIRECTORY "${PROJECT_BINARY_DIR}/share/txc")
file(CREATE_LINK "${PROJECT_SOURCE_DIR}/configs" "${PROJECT_BINARY_DIR}/share/txc/configs" SYMBOLIC)
